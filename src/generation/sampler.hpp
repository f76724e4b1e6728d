#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "musicsteer/sampling.hpp"

namespace musicsteer {

/// Classifier-free guidance: null + scale x (conditional - null).
at::Tensor apply_guidance(const at::Tensor& conditional, const at::Tensor& null, double scale);

/// Temperature, then top-k, then top-p, in transformers' order. Filtered tokens become -infinity.
/// @param logits  [..., V] float32
at::Tensor filter_logits(const at::Tensor& logits, const SamplingOptions& options);

/// Gumbel noise of one draw, keyed by (seed, frame, codebook, token): Philox 4x32-10 with key `seed`,
/// subsequence frame x 256 + codebook, and counter by token. The same on every device and at any place in a
/// batch.
/// @param out  [V]
void gumbel_noise(std::uint64_t seed, std::int64_t frame, std::int64_t codebook, std::span<float> out);

/// Key of a draw: the seed, frame and codebook.
struct DrawKey {
    std::uint64_t seed = 0;
    std::int64_t frame = 0;
    std::int64_t codebook = 0;
};

/// Draws one token for each row of logits: argmax(filtered + Gumbel noise), or plain argmax with top_k 1.
/// @param logits  [M, V] float32
/// @param keys    [M]
/// @return [M] int64 on the CPU
at::Tensor draw_tokens(const at::Tensor& logits, std::span<const DrawKey> keys,
                       const SamplingOptions& options);

}  // namespace musicsteer
