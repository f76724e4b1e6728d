#pragma once

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

}  // namespace musicsteer
