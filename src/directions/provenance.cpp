#include "directions/provenance.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/size_limits.hpp"
#include "io/file_format.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kMadeFromKey = "made_from";
constexpr const char* kPrecisionKey = "precision";
constexpr std::string_view kVectorsFormat = "musicsteer-vectors";
constexpr std::int64_t kMaxCount = std::numeric_limits<std::int64_t>::max();

// Reads the fields of a file's metadata, stored as text: words as they are, everything else as JSON.
class MetadataReader {
  public:
    MetadataReader(const Metadata& metadata, std::string origin)
        : metadata_(metadata), origin_(std::move(origin)) {}

    const std::string& text(const std::string& key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) throw InputError(place_of(key) + ": missing");
        return found->second;
    }
    std::string optional_text(const std::string& key) const {
        const auto found = metadata_.find(key);
        return found == metadata_.end() ? "" : found->second;
    }
    /// An object as its text; "" if there is none.
    std::string optional_object(const std::string& key) const {
        const std::string found = optional_text(key);
        if (!found.empty()) document(key).root().members();
        return found;
    }
    JsonDocument document(const std::string& key) const { return JsonDocument(text(key), place_of(key)); }
    double number(const std::string& key) const { return document(key).root().number(); }
    std::uint64_t unsigned_integer(const std::string& key) const {
        return document(key).root().unsigned_integer();
    }
    std::int64_t integer(const std::string& key, std::int64_t least, std::int64_t most) const {
        return document(key).root().integer(least, most);
    }

  private:
    std::string place_of(const std::string& key) const { return origin_ + ": metadata." + key; }

    const Metadata& metadata_;
    std::string origin_;
};

void check_format(const Metadata& metadata, const std::string& expected, const std::string& what,
                  const std::string& origin) {
    if (!metadata.contains(kFormatKey)) {
        throw InputError(origin + ": a safetensors file without musicsteer's metadata, so no " + what +
                         "; 'musicsteer extract' makes such files" +
                         (expected == kVectorsFormat
                              ? ", and 'musicsteer import' makes them of other tools' vectors"
                              : ""));
    }
    const JsonDocument document(metadata.at(kFormatKey), origin + ": metadata." + kFormatKey);
    FileFormat{expected.c_str()}.check(document.root());
}

}  // namespace

std::string format_stamp(const std::string& format) {
    return FileFormat{format.c_str()}.stamp().dump();
}

std::string format_of(const Metadata& metadata) {
    const auto found = metadata.find(kFormatKey);
    if (found == metadata.end()) return "";
    const json stamp = json::parse(found->second, nullptr, /*allow_exceptions=*/false);
    return stamp.is_object() && stamp.contains("format") && stamp["format"].is_string()
               ? stamp["format"].get<std::string>()
               : "";
}

Provenance read_provenance(const Metadata& metadata, const std::string& format, const std::string& what,
                           const std::string& origin) {
    check_format(metadata, format, what, origin);
    const MetadataReader reader(metadata, origin);
    Provenance provenance;
    provenance.concept_name = reader.text("concept");
    const JsonDocument labels = reader.document("labels");
    provenance.positive_label = labels.root().at("positive").text();
    provenance.negative_label = labels.root().at("negative").text();
    provenance.method = reader.text("method");
    provenance.method_settings = reader.optional_object("method_settings");
    provenance.value_name = reader.optional_text("value");
    provenance.recordings = reader.optional_object("recordings");
    provenance.melody_sha256 = reader.optional_text("melody_sha256");
    provenance.model_name = reader.text("model");
    provenance.weights_sha256 = reader.text("weights_sha256");
    if (metadata.contains(kPrecisionKey)) {
        const JsonDocument precision = reader.document(kPrecisionKey);
        for (const auto& [module, view] : precision.root().members())
            provenance.precision[module] = view.text();
    }
    provenance.prompts_sha256 = reader.text("prompts_sha256");
    provenance.positions = reader.text("positions");
    provenance.rows = reader.text("rows");
    provenance.duration_s = reader.number("duration_s");
    provenance.guidance_scale = reader.number("guidance_scale");
    provenance.top_k = reader.integer("top_k", 0, kMaxCount);
    provenance.top_p = reader.number("top_p");
    provenance.temperature = reader.number("temperature");
    provenance.seed = reader.unsigned_integer("seed");
    const JsonDocument counts = reader.document("counts");
    provenance.positive_count = counts.root().at("positive").integer(0);
    provenance.negative_count = counts.root().at("negative").integer(0);
    provenance.num_layers = reader.integer("num_layers", 1, kMaxLayers);
    provenance.hidden_size = reader.integer("hidden_size", 1, kMaxWidth);
    if (metadata.contains(kMadeFromKey)) {
        provenance.made_from = reader.text(kMadeFromKey);
        reader.document(kMadeFromKey).root().members();
    }
    return provenance;
}

std::map<std::string, std::string> provenance_metadata(const Provenance& provenance,
                                                       const std::string& format) {
    Metadata metadata = {
        {kFormatKey, format_stamp(format)},
        {"concept", provenance.concept_name},
        {"labels",
         json{{"positive", provenance.positive_label}, {"negative", provenance.negative_label}}.dump()},
        {"method", provenance.method},
        {"model", provenance.model_name},
        {"weights_sha256", provenance.weights_sha256},
        {"prompts_sha256", provenance.prompts_sha256},
        {"positions", provenance.positions},
        {"rows", provenance.rows},
        {"duration_s", json(provenance.duration_s).dump()},
        {"guidance_scale", json(provenance.guidance_scale).dump()},
        {"top_k", json(provenance.top_k).dump()},
        {"top_p", json(provenance.top_p).dump()},
        {"temperature", json(provenance.temperature).dump()},
        {"seed", json(provenance.seed).dump()},
        {"counts",
         json{{"positive", provenance.positive_count}, {"negative", provenance.negative_count}}.dump()},
        {"num_layers", json(provenance.num_layers).dump()},
        {"hidden_size", json(provenance.hidden_size).dump()},
    };
    for (const auto& [key, text] : {std::pair{"method_settings", &provenance.method_settings},
                                    {"value", &provenance.value_name},
                                    {"melody_sha256", &provenance.melody_sha256},
                                    {"recordings", &provenance.recordings}})
        if (!text->empty()) metadata[key] = *text;
    if (!provenance.precision.empty()) metadata[kPrecisionKey] = json(provenance.precision).dump();
    if (!provenance.made_from.empty()) metadata[kMadeFromKey] = provenance.made_from;
    return metadata;
}

void check_fits_model(const Provenance& provenance, const Manifest& manifest, const std::string& origin) {
    if (provenance.hidden_size != manifest.decoder.hidden_size) {
        throw InputError(origin + ": vectors are " + std::to_string(provenance.hidden_size) +
                         " wide, the model " + std::to_string(manifest.decoder.hidden_size) +
                         "; extract them from this model");
    }
    // An imported file may state neither the weights nor the model's number of layers.
    const bool unknown_layers =
        provenance.weights_sha256.empty() && provenance.num_layers < manifest.decoder.num_layers;
    if (provenance.num_layers != manifest.decoder.num_layers && !unknown_layers) {
        throw InputError(origin + ": vectors are of a model with " + std::to_string(provenance.num_layers) +
                         " layers, the model has " + std::to_string(manifest.decoder.num_layers) +
                         "; extract them from this model");
    }
}

}  // namespace musicsteer
