#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "generation/delay_pattern.hpp"

namespace musicsteer {

/// The targets of T columns for clips whose codes are given.
struct CodeTargets {
    at::Tensor valid;   ///< [K, T] float64: 1 where a column predicts a frame of the codebook, else 0
    at::Tensor wanted;  ///< [R, K, T] int64: the codes; 0 where nothing is predicted
};

/// @param codes  [R, K, N]; @param first  position of the first column
/// @param first_frame  earlier frames do not count
CodeTargets code_targets(const DelayPattern& pattern, const at::Tensor& codes, std::int64_t first,
                         std::int64_t columns, std::int64_t first_frame = 0);

/// Sums over frames and codebooks of log p(code), in nats. @param log_p  [R, K, T, V]
/// @return [R] float64 on the CPU
at::Tensor log_likelihood(const at::Tensor& log_p, const CodeTargets& targets);

}  // namespace musicsteer
