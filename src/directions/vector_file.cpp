#include "musicsteer/vector_file.hpp"

#include <ATen/ops/isfinite.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/shapes.hpp"
#include "directions/provenance.hpp"
#include "io/json_view.hpp"
#include "io/safetensors.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr const char* kVectorFormat = "musicsteer-vectors";
constexpr const char* kLayersKey = "layers";

std::string layers_json(const VectorFile& file) {
    json layers = json::object();
    for (const auto& [name, stats] : file.stats) {
        layers[name] = direction_stats_json(stats);
    }
    return layers.dump();
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
        DirectionStats& read = stats[name];
        read.norm = view.at("norm").number();
        read.mean_residual_norm = view.at("mean_residual_norm").number();
        read.effect_size = view.at("effect_size").number();
        for (const auto& [key, member] : DirectionStats::optional())
            if (const auto value = view.find(key)) read.*member = value->number();
    }
    for (const auto& [name, tensor] : info.tensors) layers.at(name);
    return stats;
}

bool is_finite(const DirectionStats& stats) {
    bool finite = std::isfinite(stats.norm) && std::isfinite(stats.mean_residual_norm) &&
                  std::isfinite(stats.effect_size);
    for (const auto& [key, member] : DirectionStats::optional())
        finite = finite && (!(stats.*member) || std::isfinite(*(stats.*member)));
    return finite;
}

// The content was computed here, so an error in it is the program's or the model's, not a file's.
void check_before_saving(const VectorFile& file, const std::string& origin) {
    for (const auto& [name, direction] : file.directions) {
        const std::string where = origin + ": vector " + in_quotes(name);
        if (direction.dim() != 1 || direction.size(0) != file.provenance.hidden_size ||
            direction.scalar_type() != at::kFloat) {
            throw ModelError(where + ": expected float32 " + shape_text({file.provenance.hidden_size}) +
                             ", found " + c10::toString(direction.scalar_type()) + " " +
                             shape_text(direction.sizes()));
        }
        const auto stats = file.stats.find(name);
        if (stats == file.stats.end()) throw ModelError(where + ": has no statistics");
        if (!at::isfinite(direction).all().item<bool>() || !is_finite(stats->second))
            throw ModelError(where + ": not finite");
    }
    if (file.stats.size() != file.directions.size())
        throw ModelError(origin + ": statistics without a vector");
}

}  // namespace

const std::vector<std::pair<const char*, std::optional<double> DirectionStats::*>>&
DirectionStats::optional() {
    static const std::vector<std::pair<const char*, std::optional<double> DirectionStats::*>> kMembers = {
        {"cohens_d", &DirectionStats::cohens_d},
        {"silhouette", &DirectionStats::silhouette},
        {"accuracy", &DirectionStats::accuracy},
        {"r", &DirectionStats::r},
        {"cosine_to_mean_diff", &DirectionStats::cosine_to_mean_diff},
    };
    return kMembers;
}

json direction_stats_json(const DirectionStats& stats) {
    json result = {{"norm", stats.norm},
                   {"mean_residual_norm", stats.mean_residual_norm},
                   {"effect_size", stats.effect_size}};
    for (const auto& [key, member] : DirectionStats::optional())
        if (stats.*member) result[key] = *(stats.*member);
    return result;
}

VectorFile VectorFile::load(const std::filesystem::path& path) {
    const std::string origin = path.string();
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
        throw InputError(origin +
                         ": expected a vector file, found a folder; 'musicsteer import' makes a vector file "
                         "of a sparse autoencoder's folder");
    }
    const TensorFileInfo info = read_tensor_info(path);
    VectorFile file;
    file.provenance = read_provenance(info.metadata, kVectorFormat, "vector file", origin);
    check_tensors(info, file.provenance, origin);
    const std::string place = origin + ": metadata." + kLayersKey;
    const auto found = info.metadata.find(kLayersKey);
    if (found == info.metadata.end()) throw InputError(place + ": missing");
    const JsonDocument layers(found->second, place);
    file.stats = read_stats(layers.root(), info);
    file.directions = load_tensors(path).tensors;
    check_finite(file.directions, origin);
    return file;
}

void VectorFile::save(const std::filesystem::path& path, Overwrite overwrite) const {
    check_before_saving(*this, path.string());
    std::map<std::string, std::string> metadata = provenance_metadata(provenance, kVectorFormat);
    metadata[kLayersKey] = layers_json(*this);
    save_tensors(path, {directions, metadata}, overwrite);
}

void VectorFile::check_fits(const Manifest& manifest, const std::string& origin) const {
    check_fits_model(provenance, manifest, origin);
}

bool VectorFile::same_weights(const Manifest& manifest) const {
    return !provenance.weights_sha256.empty() && provenance.weights_sha256 == manifest.weights_sha256;
}

}  // namespace musicsteer
