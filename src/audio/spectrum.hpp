#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// Frame length and hop in samples, the same at every rate: librosa's defaults.
inline constexpr std::int64_t kFftSize = 2048;
inline constexpr std::int64_t kHopLength = 512;
inline constexpr std::int64_t kSpectrumBins = kFftSize / 2 + 1;

/// Frames of a signal of N samples: 1 + N / hop. Frame t is centred on sample t x hop; outside the signal,
/// samples are zero.
std::int64_t num_spectrum_frames(std::int64_t num_samples, std::int64_t hop = kHopLength);

/// How a signal is padded for the frames at its ends.
enum class BeyondEnds { kZeros, kReflection };

/// How a signal is cut into frames: frame t is centred on sample t x hop.
struct Framing {
    std::int64_t fft_size = kFftSize;
    std::int64_t hop = kHopLength;
    BeyondEnds beyond_ends = BeyondEnds::kZeros;
};

/// Consecutive frames of a signal. F is at most a few hundred, so memory does not grow with the signal.
struct FrameBlock {
    std::int64_t first = 0;  ///< number of the first frame
    at::Tensor samples;      ///< [F, fft_size] float64, without a window
    at::Tensor magnitude;    ///< [F, fft_size / 2 + 1] float32: |STFT| with a periodic Hann window
};

/// Every `step`-th frame of the signal that is in the block. @param values  [F, ...], samples or magnitude
at::Tensor every(const FrameBlock& block, const at::Tensor& values, std::int64_t step);

/// Reads the frames of the mean of all channels, in order. The transform is computed in float64 and stored in
/// float32, as in librosa.stft (0.11.0) after librosa.to_mono. Reflection needs more samples than half a
/// frame.
/// @throws InputError if there are no samples
void for_each_frame_block(const Audio& audio, const Framing& framing,
                          const std::function<void(const FrameBlock&)>& visit);

/// Means over frames. All frames count the same; silent ones have centroid, rolloff and bandwidth 0 and
/// flatness 1.
struct SpectralMeans {
    double centroid_hz = 0.0;   ///< mean frequency, weighted by magnitude
    double rolloff_hz = 0.0;    ///< below it lie 85 % of the sum of magnitudes
    double bandwidth_hz = 0.0;  ///< standard deviation of frequency about the centroid, weighted by magnitude
    double flatness = 0.0;  ///< geometric over arithmetic mean of power (at least 1e-10): 1 is white noise
};

/// Averages statistics of spectra, as librosa.feature.spectral_centroid, spectral_rolloff, spectral_bandwidth
/// and spectral_flatness (0.11.0) define them.
class SpectralAverager {
  public:
    explicit SpectralAverager(std::int64_t sample_rate_hz);
    /// @param magnitude  [F, kSpectrumBins] float32
    void add(const at::Tensor& magnitude);
    /// All 0 before the first frame.
    SpectralMeans means() const;

  private:
    at::Tensor frequencies_hz_;  ///< [kSpectrumBins] float64
    SpectralMeans sums_;
    std::int64_t frames_ = 0;
};

}  // namespace musicsteer
