#include "experiments/calibrate/pair_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// The pairs on whose clips the measure is defined.
struct PairedValues {
    std::vector<double> plain;
    std::vector<double> steered;
    std::size_t undefined = 0;
};

PairedValues paired(std::span<const double> plain, std::span<const double> steered) {
    PairedValues result;
    for (std::size_t i = 0; i < steered.size(); ++i) {
        if (std::isfinite(plain[i]) && std::isfinite(steered[i])) {
            result.plain.push_back(plain[i]);
            result.steered.push_back(steered[i]);
        } else {
            ++result.undefined;
        }
    }
    return result;
}

/// (steered - reference) / scale, where the scale is the unsteered mean or, if there is none, fixed.
Estimate share(const PairedValues& values, const std::vector<double>& above, const MeasureTarget& target,
               double unsteered) {
    if (!target.is_in_decibels() && unsteered > 0.0) return ratio_interval_t(above, values.plain);
    std::vector<double> shares = above;
    for (double& value : shares) value /= target.scale(unsteered);
    return mean_interval_t(shares);
}

}  // namespace

TargetOutcome compare_pairs(const MeasureTarget& target, std::span<const double> plain,
                            std::span<const double> steered) {
    const PairedValues values = paired(plain, steered);
    if (values.plain.size() < std::max<std::size_t>(2, steered.size() / 2)) {
        throw InputError(target.text + ": " + short_measure_name(target.measure) + " is not defined on " +
                         std::to_string(values.undefined) + " of " + std::to_string(steered.size()) +
                         " clips; use longer clips or other prompts");
    }
    TargetOutcome outcome;
    outcome.undefined = values.undefined;
    outcome.unsteered = mean(values.plain);
    outcome.wanted = target.wanted(outcome.unsteered);
    const double scale = target.scale(outcome.unsteered);
    if (scale <= 0.0)
        throw InputError(target.text + ": the unsteered clips' " + short_measure_name(target.measure) +
                         " is 0, so a change in percent is impossible; give a value to reach");
    outcome.value = mean_interval_t(values.steered);
    outcome.change =
        share(values, paired_differences(values.steered, values.plain), target, outcome.unsteered);
    std::vector<double> missing = values.steered;
    for (std::size_t i = 0; i < missing.size(); ++i)
        missing[i] -= target.is_relative ? values.plain[i] * (1.0 + target.value) : target.value;
    outcome.gap = share(values, missing, target, outcome.unsteered);
    return outcome;
}

double half_width(const TargetOutcome& outcome) {
    if (!outcome.gap.has_interval()) return std::numeric_limits<double>::infinity();
    return 0.5 * (outcome.gap.high - outcome.gap.low);
}

TargetStatus status_of(const TargetOutcome& outcome, double tolerance) {
    if (!(std::abs(outcome.gap.value) <= tolerance)) return TargetStatus::kMissed;
    const double wanted_change = std::abs(outcome.change.value - outcome.gap.value);
    return half_width(outcome) > std::max(tolerance, 0.5 * wanted_change) ? TargetStatus::kUnsure
                                                                          : TargetStatus::kMet;
}

double max_gap(std::span<const TargetOutcome> outcomes) {
    double largest = 0.0;
    for (const TargetOutcome& outcome : outcomes) largest = std::max(largest, std::abs(outcome.gap.value));
    return largest;
}

double gap_noise(std::span<const TargetOutcome> outcomes) {
    double widest = 0.0;
    for (const TargetOutcome& outcome : outcomes) widest = std::max(widest, half_width(outcome));
    return widest;
}

}  // namespace musicsteer
