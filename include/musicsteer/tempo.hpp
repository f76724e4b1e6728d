#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace musicsteer {

/// The beat of a signal in beats a minute, from its onset envelope: the lag at which the envelope resembles
/// itself most, over windows of 8 s around every frame, with a preference for 120 BPM (a bell of one octave's
/// standard deviation) and below 320 BPM. Follows librosa.feature.tempo and librosa.feature.tempogram
/// (0.11.0) with their defaults. Only whole lags are tried: the possible tempos are 60 x rate / (512 x lag),
/// near 120 BPM 3 % apart at 48 kHz and 7 % at 16 kHz.
/// @return nothing if the envelope is zero throughout (librosa gives the preferred tempo then), or if the
/// rate is too low for two frames in 8 s
std::optional<double> estimate_tempo_bpm(std::span<const float> envelope, std::int64_t sample_rate_hz);

}  // namespace musicsteer
