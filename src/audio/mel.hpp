#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace musicsteer {

inline constexpr std::int64_t kMelBands = 128;

/// Triangles over the bins of a spectrum, evenly spaced on Slaney's mel scale (linear below 1 kHz,
/// logarithmic above) from 0 to half the sample rate, each with area 1 in Hz: librosa.filters.mel (0.11.0)
/// with its defaults. At low frequencies a band can be narrower than a bin and stay empty.
/// @return [kMelBands, kSpectrumBins] float32
at::Tensor mel_filterbank(std::int64_t sample_rate_hz);

}  // namespace musicsteer
