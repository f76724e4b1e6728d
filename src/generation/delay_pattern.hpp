#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace musicsteer {

/// Codes staggered by codebook, so that one step predicts codebook k of frame p - delay[k]
/// (transformers: MusicgenForCausalLM.build_delay_pattern_mask).
///
/// With K = 4, delays 0 1 2 3, N = 3 frames and start token S (also padding), column p of a sequence is the
/// decoder's input at position p, and column p + 1 is what position p predicts:
///
///     column     0  1  2  3  4  5  6
///     book 0     S  a0 a1 a2 S  S  S
///     book 1     S  S  b0 b1 b2 S  S
///     book 2     S  S  S  c0 c1 c2 S
///     book 3     S  S  S  S  d0 d1 d2   (positions 0 to 5; d2 is predicted last and never read back)
class DelayPattern {
  public:
    /// @param delays  [K] in frames
    DelayPattern(std::span<const std::int64_t> delays, std::int64_t start_token, std::int64_t num_frames);

    std::int64_t num_frames() const { return num_frames_; }
    /// Decoder steps for a clip: N + the largest delay.
    std::int64_t num_positions() const { return num_frames_ + max_delay_; }
    /// The frame of codebook k that position p predicts; -1 if it predicts none.
    std::int64_t frame_at(std::int64_t position, std::int64_t codebook) const;

    /// @param codes  [R, K, T0] int64, T0 <= N
    /// @return sequence [R, K, positions + 1] int64, the start token where the frame is unknown
    /// @throws UsageError if more frames are given than the clip has
    at::Tensor delay(const at::Tensor& codes) const;
    /// @param sequence  [R, K, positions + 1]
    /// @return [R, K, N] int64
    at::Tensor undelay(const at::Tensor& sequence) const;
    /// The same for one frame: [R, K]
    at::Tensor frame(const at::Tensor& sequence, std::int64_t frame) const;

  private:
    std::vector<std::int64_t> delays_;
    std::int64_t start_token_;
    std::int64_t num_frames_;
    std::int64_t max_delay_;
};

}  // namespace musicsteer
