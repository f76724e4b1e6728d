#include "bundle/weight_change.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <functional>
#include <string_view>
#include <utility>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Sums of squares over the weights of a part.
struct Squares {
    double change = 0.0;
    double base = 0.0;
};

/// "layers.3.self_qkv.weight" -> "layer 3"
std::string decoder_part(const std::string& name) {
    constexpr std::string_view kLayers = "layers.";
    if (!name.starts_with(kLayers)) return "embeddings and heads";
    return "layer " + name.substr(kLayers.size(), name.find('.', kLayers.size()) - kLayers.size());
}

/// In the module's order, without the table of positions, which is not trained. What is lowered is in
/// buffers.
std::vector<std::pair<std::string, at::Tensor>> weights_of(const torch::jit::Module& module) {
    std::vector<std::pair<std::string, at::Tensor>> weights;
    for (const auto& parameter : module.named_parameters())
        weights.emplace_back(parameter.name, parameter.value);
    for (const auto& buffer : module.named_buffers())
        if (buffer.name != "positions") weights.emplace_back(buffer.name, buffer.value);
    return weights;
}

class Comparison {
  public:
    Comparison(const Bundle& bundle, const Bundle& base) : bundle_(bundle), base_(base) {}

    void add(const std::string& file, const std::function<std::string(const std::string&)>& part_of_name) {
        const auto weights = weights_of(bundle_.load_module(file));
        const auto others = weights_of(base_.load_module(file));
        if (weights.size() != others.size()) refuse_shape();
        for (std::size_t i = 0; i < weights.size(); ++i) {
            const auto& [name, weight] = weights[i];
            if (name != others[i].first || weight.sizes() != others[i].second.sizes()) refuse_shape();
            Squares& squares = of_part(part_of_name(name));
            const at::Tensor before = others[i].second.to(at::kDouble);
            squares.change += (weight.to(at::kDouble) - before).square().sum().item<double>();
            squares.base += before.square().sum().item<double>();
        }
    }

    std::vector<WeightChange> result() const {
        std::vector<WeightChange> changes;
        for (const auto& [part, squares] : parts_)
            changes.push_back({part, squares.change == 0.0 ? 0.0 : std::sqrt(squares.change / squares.base)});
        return changes;
    }

  private:
    [[noreturn]] void refuse_shape() const {
        throw InputError(bundle_.manifest().model_name + " and " + base_.manifest().model_name +
                         " are not of one architecture and size: one cannot be a fine-tune of the other");
    }

    Squares& of_part(const std::string& part) {
        for (auto& [name, squares] : parts_)
            if (name == part) return squares;
        return parts_.emplace_back(part, Squares{}).second;
    }

    const Bundle& bundle_;
    const Bundle& base_;
    std::vector<std::pair<std::string, Squares>> parts_;  ///< in the order of a table
};

}  // namespace

std::vector<WeightChange> weight_changes(const Bundle& bundle, const Bundle& base) {
    const c10::InferenceMode guard;
    if (bundle.manifest().precision != base.manifest().precision ||
        bundle.manifest().precision.at("decoder") == "int8")
        throw InputError("weights are compared in f32 or bf16, both bundles in the same: export them so");
    Comparison comparison(bundle, base);
    comparison.add("decoder.pt", decoder_part);
    comparison.add("text_encoder.pt", [](const std::string&) { return "text encoder"; });
    return comparison.result();
}

}  // namespace musicsteer
