#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace musicsteer {

/// Samples between frames of the onset envelope: the power of two nearest to 16 ms, so 256 at 16 kHz and 512
/// at 32 kHz. librosa's default of 512 is too coarse at 16 kHz: its peak picker compares frames within 30 ms,
/// less than one frame there, and counts an onset that rises over two frames twice.
std::int64_t onset_hop_length(std::int64_t sample_rate_hz);

/// Builds the onset envelope: how much louder, in dB and averaged over mel bands, each frame is than the one
/// before. Follows librosa.onset.onset_strength (0.11.0) with hop_length=onset_hop_length(rate):
/// librosa.feature.melspectrogram of power, librosa.power_to_db (reference 1, at least 1e-10, at most 80 dB
/// below the loudest band of the whole signal), rises over one frame, mean over bands, shifted by the lag and
/// by half a window. Keeps 128 numbers a frame, a quarter to a half of the signal's size, until it is
/// finished.
class OnsetEnvelope {
  public:
    explicit OnsetEnvelope(std::int64_t sample_rate_hz);
    /// @param magnitude  [F, kSpectrumBins] float32, the next frames, onset_hop_length apart
    void add(const at::Tensor& magnitude);
    /// @return a value of at least 0 for each frame
    std::vector<float> finish() const;

  private:
    std::size_t shift_frames_;
    at::Tensor filters_;             ///< [kSpectrumBins, kMelBands]
    std::vector<at::Tensor> bands_;  ///< [F, kMelBands] dB each
    float loudest_db_ = -std::numeric_limits<float>::infinity();
};

/// Onset frames: the envelope, scaled to 0 ... 1, is at its maximum over the last
/// 30 ms, and at least 0.07 above its mean over 100 ms to either side, and the last onset was more than 30 ms
/// ago, in whole frames, rounded down. Same as librosa.onset.onset_detect and librosa.util.peak_pick (0.11.0)
/// with the same hop.
std::vector<std::int64_t> pick_onsets(std::span<const float> envelope, std::int64_t sample_rate_hz);

}  // namespace musicsteer
