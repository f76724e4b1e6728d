#pragma once

#include <ATen/core/Tensor.h>

namespace musicsteer {

/// A linear without bias with int8 weights, on the CPU. Each row of x is quantised to int16 by its own
/// largest value; products and sums are integers and exact. So a row gives the same bits whatever the other
/// rows, the threads and the processor: those of Int8Linear in
/// src/python/musicsteer/torchscript/precision.py. The weight is read in place.
/// @param x  [..., I] float32
/// @param weight  [O, I] int8, contiguous, from -127 to 127
/// @param scale  [O] float32: the value of one unit of a weight
/// @return [..., O] float32; a row of zeros gives zeros, one with a value that is not finite NaN
/// @throws ModelError for other shapes
at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale);

}  // namespace musicsteer
