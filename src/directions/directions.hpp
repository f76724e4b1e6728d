#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// Pooled activations of one side at one hook point.
struct PooledSide {
    at::Tensor means;       ///< [n, D] float32, one for each prompt
    at::Tensor mean_norms;  ///< [n] float32

    /// Appends prompts: [m, D] and [m].
    void append(const at::Tensor& more_means, const at::Tensor& more_norms);
};

/// What is known of the prompts of both sides besides their activations.
struct PromptRelations {
    bool paired = false;                  ///< prompt i of one side belongs with prompt i of the other
    std::vector<double> positive_values;  ///< a number for each prompt, or empty
    std::vector<double> negative_values;

    bool has_values() const { return !positive_values.empty() && !negative_values.empty(); }
};

struct Direction {
    at::Tensor vector;  ///< [D] float32
    DirectionStats stats;
};

/// mean(positive) - mean(negative) (Facchiano et al., arXiv 2504.04479), with its norm, the mean activation
/// norm of both sides, and Cohen's d of the prompts' projections on it.
/// @throws InputError if a side is empty, widths differ, or a value is not finite.
Direction difference_in_means(const PooledSide& positive, const PooledSide& negative);

}  // namespace musicsteer
