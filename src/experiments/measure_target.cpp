#include "experiments/measure_target.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kFullScaleDb = 20.0;

/// A measure that can be steered towards.
struct MeasureTraits {
    const char* short_name;
    const char* name;
    const char* unit;
    ChangeScale scale;
    std::optional<double> (*of)(const AudioMeasures& measures);
};

constexpr auto kRatio = ChangeScale::kLogRatio;
constexpr auto kDifference = ChangeScale::kDifference;

template <auto kMember>
std::optional<double> value_of(const AudioMeasures& measures) {
    return measures.*kMember;
}

using M = AudioMeasures;
constexpr std::array<MeasureTraits, 10> kMeasures = {{
    {"tempo", "tempo_bpm", "BPM", kRatio, value_of<&M::tempo_bpm>},
    {"onsets", "onset_rate_hz", "a second", kDifference, value_of<&M::onset_rate_hz>},
    {"centroid", "spectral_centroid_hz", "Hz", kRatio, value_of<&M::spectral_centroid_hz>},
    {"rolloff", "spectral_rolloff_hz", "Hz", kRatio, value_of<&M::spectral_rolloff_hz>},
    {"bandwidth", "spectral_bandwidth_hz", "Hz", kRatio, value_of<&M::spectral_bandwidth_hz>},
    {"flatness", "spectral_flatness", "", kRatio, value_of<&M::spectral_flatness>},
    {"rms", "rms", "", kRatio, value_of<&M::rms>},
    {"loudness", "loudness_lufs", "LUFS", kDifference, value_of<&M::loudness_lufs>},
    {"peak", "true_peak_dbtp", "dBTP", kDifference, value_of<&M::true_peak_dbtp>},
    {"silence", "silence_share", "", kDifference, value_of<&M::silence_share>},
}};

std::optional<double> not_ours(const AudioMeasures&) {
    return std::nullopt;
}

/// Its names are those of `measure`, which has to outlive it, where it is an own measure.
MeasureTraits traits_of(const std::string& measure) {
    for (const MeasureTraits& traits : kMeasures)
        if (measure == traits.name) return traits;
    return {measure.c_str(), measure.c_str(), "", kDifference, not_ours};
}

std::optional<double> plain_number(const std::string& text) {
    if (text.empty() || text.find_first_not_of("+-.0123456789eE") != std::string::npos) return std::nullopt;
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (*end != '\0' || !std::isfinite(value)) return std::nullopt;
    return value;
}

[[noreturn]] void refuse_target(const std::string& text, const std::string& expected) {
    throw UsageError("target " + in_quotes(text) + ": " + expected);
}

}  // namespace

ChangeScale change_scale(const std::string& measure) {
    return traits_of(measure).scale;
}

double change_of(double unsteered, double steered, ChangeScale scale) {
    return scale == ChangeScale::kLogRatio ? std::log(steered / unsteered) : steered - unsteered;
}

std::string change_text(double change, const std::string& measure, bool with_sign) {
    const MeasureTraits traits = traits_of(measure);
    if (traits.scale == ChangeScale::kLogRatio) {
        char text[48];
        std::snprintf(text, sizeof text, with_sign ? "%+.1f %%" : "%.1f %%", 100.0 * std::expm1(change));
        return text;
    }
    char text[48];
    std::snprintf(text, sizeof text, with_sign ? "%+.3g" : "%.3g", change);
    const bool in_decibels = traits.unit == std::string("LUFS") || traits.unit == std::string("dBTP");
    const std::string unit = in_decibels ? "dB" : traits.unit;
    return unit.empty() ? text : text + (" " + unit);
}

std::string short_measure_name(const std::string& measure) {
    return traits_of(measure).short_name;
}

std::string measure_unit(const std::string& measure) {
    return traits_of(measure).unit;
}

std::optional<double> measured(const AudioMeasures& measures, const std::string& measure) {
    return traits_of(measure).of(measures);
}

bool is_measure_name(const std::string& name) {
    return std::any_of(kMeasures.begin(), kMeasures.end(), [&](const MeasureTraits& traits) {
        return name == traits.short_name || name == traits.name;
    });
}

std::string parse_measure_name(const std::string& name, const std::vector<std::string>& own) {
    if (std::find(own.begin(), own.end(), name) != own.end()) return name;
    std::vector<std::string> known = own;
    std::string list;
    for (const std::string& measure : own) list += (list.empty() ? "" : ", ") + measure;
    for (const MeasureTraits& traits : kMeasures) {
        if (name == traits.short_name || name == traits.name) return traits.name;
        known.insert(known.end(), {traits.short_name, traits.name});
        list += (list.empty() ? "" : ", ") + std::string(traits.short_name);
    }
    throw UsageError("unknown measure " + in_quotes(name) + " (known: " + list + ")" +
                     did_you_mean(name, known));
}

MeasureTarget MeasureTarget::parse(const std::string& text, const std::vector<std::string>& own) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
        refuse_target(text, "expected MEASURE=CHANGE or MEASURE=VALUE, such as tempo=+20% or tempo=120");
    MeasureTarget target;
    target.text = text;
    target.measure = parse_measure_name(text.substr(0, equals), own);
    std::string number = text.substr(equals + 1);
    target.is_relative = number.ends_with('%');
    if (target.is_relative) number.pop_back();
    const std::optional<double> value = plain_number(number);
    if (!value) refuse_target(text, "expected a change such as +20% or -30%, or a value such as 120");
    const bool is_signed = number.starts_with('+') || number.starts_with('-');
    if (target.is_relative && target.is_in_decibels())
        refuse_target(text, "decibels have no percentages: give the value to reach, such as loudness=-16");
    if (target.is_relative && !is_signed) refuse_target(text, "a change needs its sign: +20% or -20%");
    if (target.is_relative && *value <= -100.0)
        refuse_target(text, "a change of -100 % or less leaves nothing");
    if (!target.is_relative && number.starts_with('+'))
        refuse_target(text, "write +20% for a change, 20 for a value to reach");
    if (!target.is_relative && *value < 0.0 && is_measure_name(target.measure) && !target.is_in_decibels())
        refuse_target(text, "this measure is never negative; write -20% for a change");
    target.value = target.is_relative ? *value / 100.0 : *value;
    return target;
}

double MeasureTarget::scale(double unsteered) const {
    if (is_in_decibels()) return kFullScaleDb;
    if (unsteered > 0.0) return unsteered;
    return is_relative ? 0.0 : std::abs(value);
}

bool MeasureTarget::is_in_decibels() const {
    return measure == "loudness_lufs" || measure == "true_peak_dbtp";
}

}  // namespace musicsteer
