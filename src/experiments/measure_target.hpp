#pragma once

#include <optional>
#include <string>
#include <vector>

#include "musicsteer/metrics.hpp"

namespace musicsteer {

/// The wanted mean of a measure over the steered clips.
struct MeasureTarget {
    std::string measure;       ///< its JSON name: tempo_bpm
    bool is_relative = false;  ///< a change of the unsteered mean, 0.2 for +20 %; else a value
    double value = 0.0;
    std::string text;  ///< as typed

    /// "tempo=+20%", "centroid=-30%" or "tempo=120". @param own  names of own measures @throws UsageError
    static MeasureTarget parse(const std::string& text, const std::vector<std::string>& own = {});

    /// The value to reach, given the unsteered mean.
    double wanted(double unsteered) const { return is_relative ? unsteered * (1.0 + value) : value; }
    /// What counts as 100 %, so that errors of different measures can be compared: the unsteered mean; for
    /// decibels 20 dB, so that 5 % are 1 dB. 0 if the unsteered mean is 0 and there are no percentages.
    double scale(double unsteered) const;
    /// True for loudness and peaks, which have no changes in percent.
    bool is_in_decibels() const;
};

/// The scale of a change of a clip's measure.
enum class ChangeScale {
    kLogRatio,    ///< log(steered / unsteered), for positive measures: tempo, centroid, ...
    kDifference,  ///< for decibels, and measures that may be 0: onsets, silence
};

/// @param measure  a JSON name, as in all that follows, or that of an own measure, which has differences and
/// no unit
ChangeScale change_scale(const std::string& measure);
/// The change of one clip. With kLogRatio, both values are more than 0.
double change_of(double unsteered, double steered, ChangeScale scale);
/// "+12.3 %" or "-0.41 a second".
std::string change_text(double change, const std::string& measure, bool with_sign = true);
/// "tempo", as it is typed and printed; records have the JSON name.
std::string short_measure_name(const std::string& measure);
/// "BPM", "Hz", "a second", "LUFS", "dBTP"; empty where there is none.
std::string measure_unit(const std::string& measure);
/// The measured value; none if it is undefined.
std::optional<double> measured(const AudioMeasures& measures, const std::string& measure);

/// The JSON name of a target measure, from that or a short name: tempo, onsets,
/// centroid, rolloff, bandwidth, flatness, rms, loudness, peak, silence.
/// An own measure, of --measure-command, has one name.
/// @throws UsageError with the known names and the nearest one
std::string parse_measure_name(const std::string& name, const std::vector<std::string>& own = {});
/// Whether a measure that can be steered towards has this short or JSON name.
bool is_measure_name(const std::string& name);

}  // namespace musicsteer
