#include "musicsteer/vector_file.hpp"

#include <ATen/ops/isfinite.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "json_view.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/safetensors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using Metadata = std::map<std::string, std::string>;

constexpr int kFormatVersion = 1;
constexpr const char* kFormat = "musicsteer-vectors";
constexpr const char* kFormatKey = "musicsteer";
constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kMostWidth = std::int64_t{1} << 20;
constexpr std::int64_t kMostCount = std::numeric_limits<std::int64_t>::max();

std::string shape_text(const std::vector<std::int64_t>& shape) {
    return json(shape).dump();
}

// Reads the fields of a file's metadata, each stored as text: words as they are, all else as JSON.
class MetadataReader {
  public:
    MetadataReader(const Metadata& metadata, std::string origin)
        : metadata_(metadata), origin_(std::move(origin)) {}

    const std::string& text(const std::string& key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) throw InputError(place_of(key) + ": missing");
        return found->second;
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

void check_format(const Metadata& metadata, const std::string& origin) {
    if (!metadata.contains(kFormatKey)) {
        throw InputError(origin + ": a safetensors file without musicsteer's metadata, so no vector file; " +
                         "'musicsteer extract' makes vector files");
    }
    const JsonDocument document(metadata.at(kFormatKey), origin + ": metadata." + kFormatKey);
    const JsonView root = document.root();
    if (const std::string format = root.at("format").text(); format != kFormat) {
        root.at("format").fail("expected '" + std::string(kFormat) + "', found " + in_quotes(format));
    }
    const std::int64_t oldest_reader = root.at("oldest_reader").integer(1, kMostCount);
    if (oldest_reader > kFormatVersion) {
        throw InputError(origin + ": written for a newer musicsteer (vector format " +
                         std::to_string(oldest_reader) + ", this one reads up to " +
                         std::to_string(kFormatVersion) + "); update musicsteer");
    }
}

Provenance read_provenance(const MetadataReader& reader) {
    Provenance provenance;
    provenance.concept_name = reader.text("concept");
    const JsonDocument labels = reader.document("labels");
    provenance.positive_label = labels.root().at("positive").text();
    provenance.negative_label = labels.root().at("negative").text();
    provenance.method = reader.text("method");
    provenance.model_name = reader.text("model");
    provenance.weights_sha256 = reader.text("weights_sha256");
    provenance.prompts_sha256 = reader.text("prompts_sha256");
    provenance.positions = reader.text("positions");
    provenance.rows = reader.text("rows");
    provenance.duration_s = reader.number("duration_s");
    provenance.guidance_scale = reader.number("guidance_scale");
    provenance.top_k = reader.integer("top_k", 0, kMostCount);
    provenance.top_p = reader.number("top_p");
    provenance.temperature = reader.number("temperature");
    provenance.seed = reader.unsigned_integer("seed");
    const JsonDocument counts = reader.document("counts");
    provenance.positive_count = counts.root().at("positive").integer(0, kMostCount);
    provenance.negative_count = counts.root().at("negative").integer(0, kMostCount);
    provenance.num_layers = reader.integer("num_layers", 1, kMostLayers);
    provenance.hidden_size = reader.integer("hidden_size", 1, kMostWidth);
    return provenance;
}

Metadata metadata_of(const VectorFile& file) {
    const Provenance& provenance = file.provenance;
    json layers = json::object();
    for (const auto& [name, stats] : file.stats) {
        layers[name] = {{"norm", stats.norm},
                        {"mean_residual_norm", stats.mean_residual_norm},
                        {"effect_size", stats.effect_size}};
    }
    return {
        {kFormatKey,
         json{{"format", kFormat}, {"format_version", kFormatVersion}, {"oldest_reader", 1}}.dump()},
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
        {"layers", layers.dump()},
    };
}

// Before any data is read: names, types and shapes.
void check_tensors(const TensorFileInfo& info, const Provenance& provenance, const std::string& origin) {
    std::set<std::string> known;
    for (const HookPoint& point : HookPoint::all(provenance.num_layers)) known.insert(point.name());
    if (info.tensors.empty()) throw InputError(origin + ": holds no vectors");
    for (const auto& [name, tensor] : info.tensors) {
        if (!known.contains(name)) {
            try {
                HookPoint::parse(name, provenance.num_layers);
            } catch (const UsageError& error) {
                throw InputError(origin + ": " + error.what());
            }
        }
        if (tensor.dtype != "F32" || tensor.shape != std::vector{provenance.hidden_size}) {
            throw InputError(origin + ": tensor " + in_quotes(name) + ": expected F32 " +
                             shape_text({provenance.hidden_size}) + ", found " + tensor.dtype + " " +
                             shape_text(tensor.shape));
        }
    }
}

void check_finite(const std::map<std::string, at::Tensor>& directions, const std::string& origin) {
    for (const auto& [name, direction] : directions) {
        const at::Tensor finite = at::isfinite(direction);
        for (std::int64_t i = 0; i < finite.numel(); ++i) {
            if (finite.const_data_ptr<bool>()[i]) continue;
            throw InputError(origin + ": tensor " + in_quotes(name) + ": value " + std::to_string(i) +
                             " is not finite");
        }
    }
}

std::map<std::string, DirectionStats> read_stats(const JsonView& layers, const TensorFileInfo& info) {
    std::map<std::string, DirectionStats> stats;
    for (const auto& [name, view] : layers.members()) {
        if (!info.tensors.contains(name)) view.fail("no such vector in the file");
        stats[name] = {view.at("norm").number(), view.at("mean_residual_norm").number(),
                       view.at("effect_size").number()};
    }
    for (const auto& [name, tensor] : info.tensors) layers.at(name);
    return stats;
}

// What is about to be written was computed here: a fault in it is the program's or the model's, not a file's.
void check_before_saving(const VectorFile& file, const std::string& origin) {
    for (const auto& [name, direction] : file.directions) {
        const std::string where = origin + ": vector " + in_quotes(name);
        if (direction.dim() != 1 || direction.size(0) != file.provenance.hidden_size ||
            direction.scalar_type() != at::kFloat) {
            throw ModelError(where + ": expected float32 " + shape_text({file.provenance.hidden_size}) +
                             ", found " + c10::toString(direction.scalar_type()) + " " +
                             shape_text(direction.sizes().vec()));
        }
        const auto stats = file.stats.find(name);
        if (stats == file.stats.end()) throw ModelError(where + ": has no statistics");
        const auto& [norm, mean_residual_norm, effect_size] = stats->second;
        if (!at::isfinite(direction).all().item<bool>() || !std::isfinite(norm) ||
            !std::isfinite(mean_residual_norm) || !std::isfinite(effect_size)) {
            throw ModelError(where + ": not finite");
        }
    }
    if (file.stats.size() != file.directions.size())
        throw ModelError(origin + ": statistics without a vector");
}

}  // namespace

VectorFile VectorFile::load(const std::filesystem::path& path) {
    const std::string origin = path.string();
    const TensorFileInfo info = read_tensor_info(path);
    check_format(info.metadata, origin);
    const MetadataReader reader(info.metadata, origin);
    VectorFile file;
    file.provenance = read_provenance(reader);
    check_tensors(info, file.provenance, origin);
    const JsonDocument layers = reader.document("layers");
    file.stats = read_stats(layers.root(), info);
    file.directions = load_tensors(path).tensors;
    check_finite(file.directions, origin);
    return file;
}

void VectorFile::save(const std::filesystem::path& path, Overwrite overwrite) const {
    check_before_saving(*this, path.string());
    save_tensors(path, {directions, metadata_of(*this)}, overwrite);
}

void VectorFile::check_fits(const Manifest& manifest, const std::string& origin) const {
    if (provenance.hidden_size != manifest.decoder.hidden_size) {
        throw InputError(origin + ": vectors are " + std::to_string(provenance.hidden_size) +
                         " wide, the model " + std::to_string(manifest.decoder.hidden_size) +
                         "; extract them from this model");
    }
    if (provenance.num_layers != manifest.decoder.num_layers) {
        throw InputError(origin + ": vectors are of a model with " + std::to_string(provenance.num_layers) +
                         " layers, the model has " + std::to_string(manifest.decoder.num_layers) +
                         "; extract them from this model");
    }
}

bool VectorFile::same_weights(const Manifest& manifest) const {
    return !provenance.weights_sha256.empty() && provenance.weights_sha256 == manifest.weights_sha256;
}

}  // namespace musicsteer
