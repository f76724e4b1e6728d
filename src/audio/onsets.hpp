#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace musicsteer {

/// Builds the onset envelope: how much louder, in dB and averaged over mel bands, each frame is than the one
/// before. Follows librosa.onset.onset_strength (0.11.0) with its defaults: librosa.feature.melspectrogram of
/// power, librosa.power_to_db (reference 1, at least 1e-10, at most 80 dB below the loudest band of the whole
/// signal), rises over one frame, mean over bands, shifted by the lag and by half a window.
/// Keeps 128 numbers a frame until it is finished, a quarter of the signal's size.
class OnsetEnvelope {
  public:
    explicit OnsetEnvelope(std::int64_t sample_rate_hz);
    /// @param magnitude  [F, kSpectrumBins] float32, the next frames
    void add(const at::Tensor& magnitude);
    /// @return a value of at least 0 for each frame
    std::vector<float> finish() const;

  private:
    at::Tensor filters_;             ///< [kSpectrumBins, kMelBands]
    std::vector<at::Tensor> bands_;  ///< [F, kMelBands] dB each
    float loudest_db_ = -std::numeric_limits<float>::infinity();
};

/// The frames at which something begins: the envelope, scaled to 0 ... 1, is at its maximum over the last
/// 30 ms, and at least 0.07 above its mean over 100 ms to either side, and the last onset was more than 30 ms
/// ago. As librosa.onset.onset_detect and librosa.util.peak_pick (0.11.0) with their defaults.
/// These times become whole frames, rounded down: below 17,067 Hz 30 ms are no frame at all, so that a slow
/// attack can count in two neighbouring frames.
std::vector<std::int64_t> pick_onsets(std::span<const float> envelope, std::int64_t sample_rate_hz);

}  // namespace musicsteer
