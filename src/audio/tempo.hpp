#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "musicsteer/tempo_prior.hpp"

namespace musicsteer {

/// The beat of a signal in beats a minute, from its onset envelope: the lag at which the envelope resembles
/// itself most, over windows of 8 s around every frame, weighted by the prior, and below 320 BPM.
/// Follows librosa.feature.tempo and librosa.feature.tempogram (0.11.0) with the hop of onset_hop_length and
/// their other defaults. Only whole lags are tried, so possible tempos are 60 x rate / (hop x lag): near 120
/// BPM, 2 to 4 % apart.
/// @return nothing if the envelope is zero throughout (librosa returns the preferred tempo)
std::optional<double> estimate_tempo_bpm(std::span<const float> envelope, std::int64_t sample_rate_hz,
                                         const TempoPrior& prior = {});

}  // namespace musicsteer
