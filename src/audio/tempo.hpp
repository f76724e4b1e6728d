#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace musicsteer {

/// Which of several tempos that fit a signal counts: a bell over log2(tempo). librosa.feature.tempo calls
/// these start_bpm and std_bpm. A bell of one octave still takes a sparse piece at half or double its tempo;
/// where the music's range is known, a narrower one in its middle does not.
struct TempoPrior {
    double bpm = 120.0;    ///< the middle
    double octaves = 1.0;  ///< standard deviation

    /// "106:0.5". @throws UsageError
    static TempoPrior parse(const std::string& text);
    /// "106:0.5"
    std::string text() const;
    bool operator==(const TempoPrior&) const = default;
};

/// The beat of a signal in beats a minute, from its onset envelope: the lag at which the envelope resembles
/// itself most, over windows of 8 s around every frame, weighted by the prior, and below 320 BPM.
/// Follows librosa.feature.tempo and librosa.feature.tempogram (0.11.0) with the hop of onset_hop_length and
/// their other defaults. Only whole lags are tried: the possible tempos are 60 x rate / (hop x lag), near 120
/// BPM 2 to 4 % apart.
/// @return nothing if the envelope is zero throughout (librosa gives the preferred tempo then)
std::optional<double> estimate_tempo_bpm(std::span<const float> envelope, std::int64_t sample_rate_hz,
                                         const TempoPrior& prior = {});

}  // namespace musicsteer
