#pragma once

#include <optional>
#include <string>
#include <vector>

#include "musicsteer/metrics.hpp"

namespace musicsteer {

/// What a measure of the steered clips, averaged, should come to.
struct MeasureTarget {
    std::string measure;       ///< its JSON name: tempo_bpm
    bool is_relative = false;  ///< a change of the unsteered clips' mean, 0.2 for +20 %; else a value
    double value = 0.0;
    std::string text;  ///< as typed

    /// "tempo=+20%", "centroid=-30%" or "tempo=120". @param own  names of own measures @throws UsageError
    static MeasureTarget parse(const std::string& text, const std::vector<std::string>& own = {});

    /// The value to reach, where the unsteered clips' mean is this.
    double wanted(double unsteered) const { return is_relative ? unsteered * (1.0 + value) : value; }
    /// What counts as 100 %, so that errors in different measures can be compared: the unsteered mean; 20 dB
    /// of what is in dB, so that 5 % are 1 dB. 0 where there are no percentages, as the unsteered mean is 0.
    double scale(double unsteered) const;
    /// True for loudness and peaks, which can't be asked to change by a share.
    bool is_in_decibels() const;
};

/// In what a change of a clip's measure is taken.
enum class ChangeScale {
    kLogRatio,    ///< log(steered / unsteered), of what is always more than 0: tempo, centroid, ...
    kDifference,  ///< of decibels, and of what may be 0: onsets, silence
};

/// @param measure  a JSON name, as in all that follows, or that of an own measure, which has differences and
/// no unit
ChangeScale change_scale(const std::string& measure);
/// Of one clip. Of kLogRatio, both are more than 0.
double change_of(double unsteered, double steered, ChangeScale scale);
/// "+12.3 %" or "-0.41 a second".
std::string change_text(double change, const std::string& measure, bool with_sign = true);
/// "tempo", as it is typed and printed; records have the JSON name.
std::string short_measure_name(const std::string& measure);
/// "BPM", "Hz", "a second", "LUFS", "dBTP"; empty where there is none.
std::string measure_unit(const std::string& measure);
/// What was measured; nothing where it is not defined.
std::optional<double> measured(const AudioMeasures& measures, const std::string& measure);

/// The JSON name of a measure that can be steered towards, from that or a short name: tempo, onsets,
/// centroid, rolloff, bandwidth, flatness, rms, loudness, peak, silence.
/// An own measure, of --measure-command, has one name.
/// @throws UsageError with the known names and the nearest one
std::string parse_measure_name(const std::string& name, const std::vector<std::string>& own = {});
/// Whether a measure that can be steered towards has this short or JSON name.
bool is_measure_name(const std::string& name);

}  // namespace musicsteer
