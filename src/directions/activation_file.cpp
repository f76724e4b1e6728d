#include "directions/activation_file.hpp"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "io/json_view.hpp"
#include "io/safetensors.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr const char* kActivationFormat = "musicsteer-activations";
constexpr const char* kUnfinishedKey = "unfinished";
constexpr const char* kPairedKey = "paired";
constexpr const char* kValuesKey = "values";
constexpr std::string_view kNormsSuffix = ".mean_norms";

void store_side(TensorFile& file, const std::string& side, const std::map<std::string, PooledSide>& pooled) {
    for (const auto& [point, values] : pooled) {
        file.tensors[side + "." + point] = values.means;
        file.tensors[side + "." + point + std::string(kNormsSuffix)] = values.mean_norms;
    }
}

std::map<std::string, PooledSide> read_side(const TensorFile& file, const std::string& side,
                                            std::int64_t hidden_size, const std::string& origin) {
    std::map<std::string, PooledSide> pooled;
    const std::string prefix = side + ".";
    for (const auto& [name, tensor] : file.tensors) {
        if (!name.starts_with(prefix) || name.ends_with(kNormsSuffix)) continue;
        const auto norms = file.tensors.find(name + std::string(kNormsSuffix));
        if (norms == file.tensors.end())
            throw InputError(origin + ": tensor '" + name + "' has no mean norms");
        const bool fits = tensor.dim() == 2 && tensor.size(1) == hidden_size && norms->second.dim() == 1 &&
                          norms->second.size(0) == tensor.size(0) && tensor.scalar_type() == at::kFloat &&
                          norms->second.scalar_type() == at::kFloat;
        if (!fits) {
            throw InputError(origin + ": tensor '" + name + "': expected float32 [prompts, " +
                             std::to_string(hidden_size) + "] and norms [prompts]");
        }
        if (!tensor.isfinite().all().item<bool>() || !norms->second.isfinite().all().item<bool>()) {
            throw InputError(origin + ": tensor '" + name + "' holds a value that is not finite");
        }
        pooled[name.substr(prefix.size())] = {tensor, norms->second};
    }
    if (pooled.empty()) throw InputError(origin + ": holds no " + side + " activations");
    return pooled;
}

std::vector<double> numbers(const JsonView& list) {
    std::vector<double> values;
    for (const JsonView& item : list.items()) values.push_back(item.number());
    return values;
}

PromptRelations read_relations(const std::map<std::string, std::string>& metadata,
                               const std::string& origin) {
    PromptRelations relations;
    if (const auto found = metadata.find(kPairedKey); found != metadata.end()) {
        const JsonDocument paired(found->second, origin + ": metadata." + kPairedKey);
        relations.paired = paired.root().boolean();
    }
    if (const auto found = metadata.find(kValuesKey); found != metadata.end()) {
        const JsonDocument values(found->second, origin + ": metadata." + kValuesKey);
        relations.positive_values = numbers(values.root().at("positive"));
        relations.negative_values = numbers(values.root().at("negative"));
    }
    return relations;
}

// Every tensor of a side has one row for each prompt.
void check_counts(const ActivationFile& file, const std::string& origin) {
    const auto check = [&](const char* side, const std::map<std::string, PooledSide>& pooled,
                           const std::vector<double>& values) {
        const std::int64_t prompts = pooled.begin()->second.means.size(0);
        for (const auto& [point, tensors] : pooled) {
            if (tensors.means.size(0) == prompts) continue;
            throw InputError(origin + ": tensor '" + side + "." + point + "': expected " +
                             std::to_string(prompts) + " prompts as in the others, found " +
                             std::to_string(tensors.means.size(0)));
        }
        if (file.relations.has_values() && static_cast<std::int64_t>(values.size()) != prompts) {
            throw InputError(origin + ": metadata." + kValuesKey + "." + side + ": expected " +
                             std::to_string(prompts) + " numbers, one for each prompt, found " +
                             std::to_string(values.size()));
        }
    };
    check("positive", file.positive, file.relations.positive_values);
    check("negative", file.negative, file.relations.negative_values);
}

}  // namespace

ActivationFile ActivationFile::load(const std::filesystem::path& path) {
    const std::string origin = path.string();
    const TensorFileInfo info = read_tensor_info(path);
    ActivationFile result;
    result.provenance = read_provenance(info.metadata, kActivationFormat, "activation file", origin);
    if (const auto found = info.metadata.find(kUnfinishedKey); found != info.metadata.end()) {
        result.unfinished = found->second;
    }
    const TensorFile file = load_tensors(path);
    result.positive = read_side(file, "positive", result.provenance.hidden_size, origin);
    result.negative = read_side(file, "negative", result.provenance.hidden_size, origin);
    for (const auto& [point, values] : result.positive) {
        if (!result.negative.contains(point))
            throw InputError(origin + ": '" + point + "' has a positive side only");
    }
    if (result.positive.size() != result.negative.size()) {
        throw InputError(origin + ": a hook point has a negative side only");
    }
    result.relations = read_relations(info.metadata, origin);
    if (result.unfinished.empty()) check_counts(result, origin);
    return result;
}

void ActivationFile::save(const std::filesystem::path& path, Overwrite overwrite) const {
    TensorFile file;
    file.metadata = provenance_metadata(provenance, kActivationFormat);
    if (!unfinished.empty()) file.metadata[kUnfinishedKey] = unfinished;
    if (relations.paired) file.metadata[kPairedKey] = "true";
    if (relations.has_values()) {
        file.metadata[kValuesKey] = nlohmann::json{
            {"positive", relations.positive_values},
            {"negative",
             relations.negative_values}}.dump();
    }
    store_side(file, "positive", positive);
    store_side(file, "negative", negative);
    save_tensors(path, file, overwrite);
}

}  // namespace musicsteer
