#include "musicsteer/layer_weights.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <string_view>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::string_view kTopPrefix = "top-";
constexpr std::string_view kExponentialPrefix = "exponential,";

[[noreturn]] void refuse_weights(const std::string& text) {
    throw UsageError("weights " + in_quotes(text) +
                     ": expected uniform, top-K (top-3: the three layers of largest effect size) or "
                     "exponential,FACTOR with a factor above 0 and at most 1 (exponential,0.7)");
}

}  // namespace

LayerWeights LayerWeights::parse(const std::string& text) {
    LayerWeights weights;
    if (text == "uniform") return weights;
    const std::string_view view = text;
    if (view.starts_with(kTopPrefix)) {
        const std::string_view digits = view.substr(kTopPrefix.size());
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), weights.count_);
        if (error != std::errc() || end != digits.data() + digits.size() || weights.count_ < 1)
            refuse_weights(text);
        weights.kind_ = Kind::kTop;
        return weights;
    }
    if (!view.starts_with(kExponentialPrefix)) refuse_weights(text);
    const auto factor = parse_number(view.substr(kExponentialPrefix.size()));
    if (!factor || *factor <= 0.0 || *factor > 1.0) refuse_weights(text);
    weights.kind_ = Kind::kExponential;
    weights.factor_ = *factor;
    return weights;
}

std::string LayerWeights::text() const {
    switch (kind_) {
        case Kind::kUniform:
            return "uniform";
        case Kind::kTop:
            return std::string(kTopPrefix) + std::to_string(count_);
        case Kind::kExponential:
            break;
    }
    return std::string(kExponentialPrefix) + to_text(factor_);
}

std::vector<double> LayerWeights::of(std::span<const double> effect_sizes) const {
    std::vector<double> weights(effect_sizes.size(), 1.0);
    if (kind_ == Kind::kUniform) return weights;
    if (kind_ == Kind::kTop && static_cast<std::size_t>(count_) > weights.size()) {
        throw UsageError("weights " + text() + ": K is larger than the number of steered layers, " +
                         std::to_string(weights.size()));
    }
    std::vector<std::size_t> by_size(weights.size());
    std::iota(by_size.begin(), by_size.end(), std::size_t{0});
    std::stable_sort(by_size.begin(), by_size.end(),
                     [&](std::size_t a, std::size_t b) { return effect_sizes[a] > effect_sizes[b]; });
    for (std::size_t rank = 0; rank < by_size.size(); ++rank) {
        weights[by_size[rank]] = kind_ == Kind::kExponential ? std::pow(factor_, static_cast<double>(rank))
                                 : rank < static_cast<std::size_t>(count_) ? 1.0
                                                                           : 0.0;
    }
    return weights;
}

}  // namespace musicsteer
