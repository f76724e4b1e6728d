#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

inline constexpr std::int64_t kPitchClasses = 12;

/// How a model's chroma is computed; the defaults are those of MusicGen's melody checkpoints.
struct ChromaFraming {
    std::int64_t sample_rate_hz = 32000;
    std::int64_t fft_size = 16384;
    std::int64_t hop_length = 4096;
    double longest_s = 30.0;  ///< the rest is not heard
};

/// How much of each pitch class a bin of the spectrum holds, C first (transformers.audio_utils
/// .chroma_filter_bank with its defaults and no tuning). @return [12, fft_size / 2 + 1] float32
at::Tensor chroma_filters(const ChromaFraming& framing);

/// The strongest pitch class of each frame of a recording, at any rate and with any channels, as
/// MusicgenMelodyFeatureExtractor finds it: C first, one-hot. Silence gives C. Sources are not separated.
/// @return [F, 12] float32
/// @throws InputError if there are no samples
at::Tensor strongest_pitch_classes(const Audio& audio, const ChromaFraming& framing);

}  // namespace musicsteer
