#include "experiments/calibrate/pair_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

/// The pairs on which a measure is defined both ways.
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

/// Undefined for a resample of clips without a scale, such as clips without an onset where percent are asked
/// for.
double share_of_scale(double difference, double scale) {
    return scale > 0.0 ? difference / scale : std::numeric_limits<double>::quiet_NaN();
}

double mean_of_drawn(std::span<const double> values, std::span<const std::size_t> drawn) {
    double sum = 0.0;
    for (const std::size_t unit : drawn) sum += values[unit];
    return sum / static_cast<double>(drawn.size());
}

}  // namespace

TargetOutcome compare_pairs(const MeasureTarget& target, std::span<const double> plain,
                            std::span<const double> steered) {
    const PairedValues values = paired(plain, steered);
    if (values.plain.size() < std::max<std::size_t>(2, steered.size() / 2)) {
        throw InputError(target.text + ": " + target.measure + " is not defined on " +
                         std::to_string(values.undefined) + " of " + std::to_string(steered.size()) +
                         " clips; use longer clips or other prompts");
    }
    TargetOutcome outcome;
    outcome.undefined = values.undefined;
    outcome.unsteered = mean(values.plain);
    outcome.wanted = target.wanted(outcome.unsteered);
    const double scale = target.scale(outcome.unsteered);
    if (scale <= 0.0)
        throw InputError(target.text + ": the unsteered clips' " + target.measure +
                         " is 0, which has no percentages; give a value to reach");
    const std::size_t units[] = {values.plain.size()};
    outcome.value =
        bootstrap(units, [&](const DrawnUnits& drawn) { return mean_of_drawn(values.steered, drawn[0]); });
    outcome.change = bootstrap(units, [&](const DrawnUnits& drawn) {
        const double before = mean_of_drawn(values.plain, drawn[0]);
        return share_of_scale(mean_of_drawn(values.steered, drawn[0]) - before, target.scale(before));
    });
    outcome.gap = bootstrap(units, [&](const DrawnUnits& drawn) {
        const double before = mean_of_drawn(values.plain, drawn[0]);
        return share_of_scale(mean_of_drawn(values.steered, drawn[0]) - target.wanted(before),
                              target.scale(before));
    });
    return outcome;
}

double max_gap(std::span<const TargetOutcome> outcomes) {
    double largest = 0.0;
    for (const TargetOutcome& outcome : outcomes) largest = std::max(largest, std::abs(outcome.gap.value));
    return largest;
}

double gap_noise(std::span<const TargetOutcome> outcomes) {
    double widest = 0.0;
    for (const TargetOutcome& outcome : outcomes) {
        if (!outcome.gap.has_interval()) return std::numeric_limits<double>::infinity();
        widest = std::max(widest, 0.5 * (outcome.gap.high - outcome.gap.low));
    }
    return widest;
}

}  // namespace musicsteer
