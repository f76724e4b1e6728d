#pragma once

#include <ATen/core/Tensor.h>

#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// Pooled activations of one side at one hook point.
struct PooledSide {
    at::Tensor means;       ///< [n, D] float32, one for each prompt
    at::Tensor mean_norms;  ///< [n] float32
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
