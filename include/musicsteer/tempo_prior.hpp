#pragma once

#include <string>

namespace musicsteer {

/// Which of several possible tempos of a signal is preferred: a bell over log2(tempo). librosa.feature.tempo
/// calls these start_bpm and std_bpm. With a bell of one octave, sparse pieces may be read at half or double
/// their tempo. If the music's range is known, a narrower bell in its middle avoids that.
struct TempoPrior {
    double bpm = 120.0;    ///< the middle
    double octaves = 1.0;  ///< standard deviation

    /// "106:0.5". @throws UsageError
    static TempoPrior parse(const std::string& text);
    /// "106:0.5"
    std::string text() const;
    bool operator==(const TempoPrior&) const = default;
};

}  // namespace musicsteer
