#pragma once

#include <ATen/core/Tensor.h>

namespace musicsteer {

/// A linear without bias by int8 weights, on the CPU: each row of x in int16, scaled by its own largest
/// value, products and sums in whole numbers, which are exact. So a row gives the same bits whatever its
/// companions, the threads and the processor, and those of Int8Linear in
/// src/python/musicsteer/torchscript/precision.py. The weight is read as it lies, mapped file or not.
/// @param x  [..., I] float32
/// @param weight  [O, I] int8, contiguous, from -127 to 127
/// @param scale  [O] float32: what one unit of a weight is worth
/// @return [..., O] float32; a row of zeros gives zeros, one with a value that is not finite NaN
/// @throws ModelError for other shapes
at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale);

}  // namespace musicsteer
