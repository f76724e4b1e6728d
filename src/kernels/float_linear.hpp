#pragma once

#include <ATen/core/Tensor.h>

namespace musicsteer {

/// A linear without bias on the CPU, the sums in float32. The weight is read as it lies, mapped file or not,
/// once for four rows of x, and bfloat16 is widened in registers. So a row gives the same bits whatever its
/// companions and the threads; processors with other vectors give other last bits.
/// @param x  [..., I] float32
/// @param weight  [O, I] float32 or bfloat16, contiguous
/// @return [..., O] float32
/// @throws ModelError for other shapes and types
at::Tensor float_linear(const at::Tensor& x, const at::Tensor& weight);

}  // namespace musicsteer
