#pragma once

#include <ATen/core/Tensor.h>

namespace musicsteer {

/// Attention of one query in each row and head, on the CPU; scores are divided by the root of hd, sums are
/// float32. With two threads, LibTorch's gives a row other last bits at another place in the batch, and it
/// reads float16 more slowly than float32. Here no head depends on another (docs/performance.md).
/// @param query   [B, 1, H, hd] float32
/// @param keys    [B, H, S, hd] float32 or float16, S > 0; the columns of each head are contiguous
/// @param values  likewise
/// @param bias    [B, 1, 1, S] float32, added to the scores; may be undefined
/// @return        [B, 1, H, hd]
at::Tensor attend_step(const at::Tensor& query, const at::Tensor& keys, const at::Tensor& values,
                       const at::Tensor& bias);

}  // namespace musicsteer
