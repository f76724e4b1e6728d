#pragma once

#include <cstdint>
#include <optional>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// Peaks between samples stay below this, so that a lossy file made of the clip does not clip either (EBU R
/// 128).
inline constexpr double kTruePeakCeilingDbtp = -1.0;

/// Changes to a clip before it is written: rate, fades and gain, in this order. None by default.
struct AudioFinish {
    std::optional<std::int64_t> sample_rate_hz;
    double fade_s = 0.0;  ///< at both ends, a raised cosine
    std::optional<double> loudness_lufs;

    bool changes_nothing() const { return !sample_rate_hz && fade_s == 0.0 && !loudness_lufs; }
    /// @throws UsageError
    void validate() const;
};

struct FinishedAudio {
    Audio audio;
    double gain_db = 0.0;
    double missing_db = 0.0;  ///< gain that the true-peak ceiling did not allow
};

/// One gain for the whole clip, no limiter. A clip that is too quiet to have a loudness keeps its level.
/// @throws InputError if it cannot be resampled
FinishedAudio finish_audio(Audio audio, const AudioFinish& finish);

}  // namespace musicsteer
