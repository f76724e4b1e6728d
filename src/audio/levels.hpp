#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

struct Levels {
    double rms = 0.0;            ///< mean over frames of each frame's root mean square; full scale is 1
    double silence_share = 0.0;  ///< share of frames whose root mean square is below -60 dB of full scale
};

/// Averages the levels of frames: librosa.feature.rms (0.11.0) of samples, and the share of silence.
class LevelAverager {
  public:
    /// @param samples  [F, kFftSize] float64, without a window
    void add(const at::Tensor& samples);
    /// All 0 before the first frame.
    Levels levels() const;

  private:
    double rms_sum_ = 0.0;
    std::int64_t silent_frames_ = 0;
    std::int64_t frames_ = 0;
};

/// Samples, of all channels, at or beyond the ends of a 16-bit scale: 32767/32768 and above, -1 and below.
std::int64_t count_full_scale_samples(const Audio& audio);

}  // namespace musicsteer
