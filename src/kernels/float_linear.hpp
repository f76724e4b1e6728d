#pragma once

#include <ATen/core/Tensor.h>

namespace musicsteer {

/// A linear without bias on the CPU, with sums in float32. The weight is read in place, once for four rows of
/// x; bfloat16 is widened in registers. A row gives the same bits whatever the other rows and the number of
/// threads. Processors with other vector sizes give other last bits.
/// @param x  [..., I] float32
/// @param weight  [O, I] float32 or bfloat16, contiguous
/// @return [..., O] float32
/// @throws ModelError for other shapes and types
at::Tensor float_linear(const at::Tensor& x, const at::Tensor& weight);

}  // namespace musicsteer
