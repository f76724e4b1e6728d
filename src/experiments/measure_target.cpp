#include "experiments/measure_target.hpp"

#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kFullScaleDb = 20.0;

constexpr std::array<std::pair<const char*, const char*>, 10> kShortNames = {{
    {"tempo", "tempo_bpm"},
    {"onsets", "onset_rate_hz"},
    {"centroid", "spectral_centroid_hz"},
    {"rolloff", "spectral_rolloff_hz"},
    {"bandwidth", "spectral_bandwidth_hz"},
    {"flatness", "spectral_flatness"},
    {"rms", "rms"},
    {"loudness", "loudness_lufs"},
    {"peak", "true_peak_dbtp"},
    {"silence", "silence_share"},
}};

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

std::string parse_measure_name(const std::string& name) {
    std::vector<std::string> known;
    std::string list;
    for (const auto& [short_name, measure] : kShortNames) {
        if (name == short_name || name == measure) return measure;
        known.insert(known.end(), {short_name, measure});
        list += (list.empty() ? "" : ", ") + std::string(short_name);
    }
    throw UsageError("unknown measure " + in_quotes(name) + " (known: " + list + ")" +
                     did_you_mean(name, known));
}

MeasureTarget MeasureTarget::parse(const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
        refuse_target(text, "expected MEASURE=CHANGE or MEASURE=VALUE, such as tempo=+20% or tempo=120");
    MeasureTarget target;
    target.text = text;
    target.measure = parse_measure_name(text.substr(0, equals));
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
    if (!target.is_relative && *value < 0.0 && !target.is_in_decibels())
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
