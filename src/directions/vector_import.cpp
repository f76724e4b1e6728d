#include "directions/vector_import.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "io/torch_file.hpp"

namespace musicsteer {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

Tensors load_foreign(const std::filesystem::path& path) {
    constexpr std::array kTorchEndings = {".pt", ".pth", ".bin"};
    if (std::find(kTorchEndings.begin(), kTorchEndings.end(), path.extension().string()) !=
        kTorchEndings.end())
        return load_torch_vectors(path);
    if (path.extension() != ".safetensors")
        throw InputError(path.string() + ": expected a .pt, .pth, .bin or .safetensors file");
    TensorFile file = load_tensors(path);
    if (!format_of(file.metadata).empty())
        throw InputError(path.string() + ": already a file of musicsteer, which needs no import");
    return std::move(file.tensors);
}

std::optional<std::int64_t> layer_number(const std::string& name) {
    std::int64_t layer = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return layer;
}

HookPoint point_of(const std::string& name, const Manifest& manifest, Site site, const std::string& where) {
    const std::int64_t layers = manifest.decoder.num_layers;
    try {
        const std::optional<std::int64_t> layer = layer_number(name);
        if (!layer) return HookPoint::parse(name, layers);
        if (*layer < 0 || *layer >= layers)
            throw InputError(where + ": the model has layers 0 to " + std::to_string(layers - 1));
        return HookPoint::at(*layer, site);
    } catch (const UsageError& error) {
        throw InputError(where + ": expected a layer's number or a hook point (" + error.what() + ")");
    }
}

at::Tensor checked_vector(const at::Tensor& tensor, const Manifest& manifest, const std::string& where) {
    const std::int64_t width = manifest.decoder.hidden_size;
    if (!tensor.is_floating_point()) throw InputError(where + ": expected floating-point numbers");
    if (tensor.dim() != 1 || tensor.size(0) != width) {
        throw InputError(where + ": expected [" + std::to_string(width) + "], the model's width, found " +
                         nlohmann::json(tensor.sizes().vec()).dump());
    }
    at::Tensor vector = tensor.to(at::kFloat).clone();
    if (!vector.isfinite().all().item<bool>()) throw InputError(where + ": holds values that are not finite");
    return vector;
}

Provenance provenance_of(const std::filesystem::path& path, const Manifest& manifest,
                         const ImportOptions& options) {
    Provenance provenance;
    provenance.concept_name = options.concept_name;
    provenance.positive_label = options.positive_label;
    provenance.negative_label = options.negative_label;
    provenance.method = "import";
    provenance.positions = provenance.rows = "unknown";
    provenance.model_name = manifest.model_name;
    provenance.weights_sha256 = manifest.weights_sha256;
    provenance.num_layers = manifest.decoder.num_layers;
    provenance.hidden_size = manifest.decoder.hidden_size;
    const nlohmann::json source = {{"file", path.filename().string()}, {"sha256", sha256_of_file(path)}};
    provenance.made_from =
        nlohmann::json{{"operation", "import"}, {"sources", nlohmann::json::array({source})}}.dump();
    return provenance;
}

}  // namespace

VectorFile import_vectors(const std::filesystem::path& path, const Manifest& manifest,
                          const ImportOptions& options) {
    const Tensors tensors = load_foreign(path);
    if (tensors.empty()) throw InputError(path.string() + ": holds no vectors");
    VectorFile file;
    file.provenance = provenance_of(path, manifest, options);
    for (const auto& [name, tensor] : tensors) {
        const std::string where = path.string() + ": " + in_quotes(name);
        const std::string point = point_of(name, manifest, options.site, where).name();
        if (file.directions.contains(point)) throw InputError(where + ": a second vector for " + point);
        file.directions[point] = checked_vector(tensor, manifest, where);
        file.stats[point].norm = file.directions[point].norm().item<double>();
    }
    return file;
}

}  // namespace musicsteer
