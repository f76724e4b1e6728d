#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace musicsteer {

/// How strongly each of the steered layers is steered, by the vector's effect size there. After MusicRFM
/// (arXiv 2510.19127), which steers only the best layers, or all with exponentially falling weights.
class LayerWeights {
  public:
    /// All layers the same.
    LayerWeights() = default;
    /// "uniform", "top-K" or "exponential,FACTOR". @throws UsageError
    static LayerWeights parse(const std::string& text);

    bool is_uniform() const { return kind_ == Kind::kUniform; }
    /// The inverse of parse.
    std::string text() const;
    /// A factor for each layer; 0 for those left out. Of equal effect sizes the first counts as the larger.
    /// @throws UsageError if there are fewer than K layers
    std::vector<double> of(std::span<const double> effect_sizes) const;

  private:
    enum class Kind {
        kUniform,      ///< 1
        kTop,          ///< 1 for the count_ layers of largest effect size, 0 for the others
        kExponential,  ///< factor_ to the power of the layer's rank: 1 for the largest effect size
    };

    Kind kind_ = Kind::kUniform;
    std::int64_t count_ = 0;
    double factor_ = 1.0;
};

}  // namespace musicsteer
