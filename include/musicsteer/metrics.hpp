#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "musicsteer/audio_file.hpp"
#include "musicsteer/tempo_prior.hpp"

namespace musicsteer {

/// The measures of a clip. Loudness, true peak and clipped samples are of all channels, the others of their
/// mean. Frames are 2048 samples long and 512 apart at every rate (spectrum.hpp), those of onsets and tempo
/// about 16 ms (onsets.hpp). Undefined values are empty: tempo without onsets, loudness and peak of silence.
struct AudioMeasures {
    double duration_s = 0.0;
    std::int64_t sample_rate_hz = 0;
    std::optional<double> tempo_bpm;       ///< tempo.hpp
    TempoPrior tempo_prior;                ///< prior of tempo_bpm
    double onset_rate_hz = 0.0;            ///< onsets a second, onsets.hpp
    double spectral_centroid_hz = 0.0;     ///< means over frames, spectrum.hpp
    double spectral_rolloff_hz = 0.0;      ///< .
    double spectral_bandwidth_hz = 0.0;    ///< .
    double spectral_flatness = 0.0;        ///< .
    double rms = 0.0;                      ///< mean over frames, levels.hpp
    std::optional<double> loudness_lufs;   ///< integrated, loudness.hpp
    std::optional<double> true_peak_dbtp;  ///< loudness.hpp
    double silence_share = 0.0;            ///< levels.hpp
    std::int64_t clipped_samples = 0;      ///< levels.hpp
};

struct MeasureOptions {
    TempoPrior tempo_prior;
};

/// Measures a clip of any rate, length and number of channels. Besides the samples, it needs memory for about
/// a quarter as many numbers.
/// @throws InputError if there are no samples, or the number of channels or the rate is out of range for
/// loudness
/// @throws ModelError if a sample is not finite
AudioMeasures measure_audio(const Audio& audio, const MeasureOptions& options = {});

/// The names of the measures as in files (docs/formats.md), in the order of their columns.
inline constexpr std::array<const char*, 13> kMeasureNames = {
    "tempo_bpm",
    "onset_rate_hz",
    "spectral_centroid_hz",
    "spectral_rolloff_hz",
    "spectral_bandwidth_hz",
    "spectral_flatness",
    "rms",
    "loudness_lufs",
    "true_peak_dbtp",
    "silence_share",
    "clipped_samples",
    "duration_s",
    "sample_rate_hz",
};

/// The measures as a JSON object with these names, null for undefined values, and `tempo_prior`.
nlohmann::json measures_json(const AudioMeasures& measures);

}  // namespace musicsteer
