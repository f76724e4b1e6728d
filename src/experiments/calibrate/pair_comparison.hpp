#pragma once

#include <span>
#include <vector>

#include "experiments/calibrate/calibration.hpp"

namespace musicsteer {

/// The effect of steering on a measure, with intervals over the pairs.
/// @param plain, steered  [pair] the measure; NaN if it is undefined
/// @throws InputError if it is undefined on most pairs, or has no percentages
TargetOutcome compare_pairs(const MeasureTarget& target, std::span<const double> plain,
                            std::span<const double> steered);

/// Whether a result meets a target.
enum class TargetStatus {
    kMet,
    kMissed,  ///< by more than the tolerance
    kUnsure,  ///< within the tolerance, but the interval is too wide
};

/// kUnsure if half the interval's width exceeds both the tolerance and half of the requested change, or there
/// is no interval.
TargetStatus status_of(const TargetOutcome& outcome, double tolerance);
/// Half the width of the gap's 95 % interval; infinite if there is none.
double half_width(const TargetOutcome& outcome);

/// The largest gap of all targets, as a share of its scale.
double max_gap(std::span<const TargetOutcome> outcomes);

/// How far chance may have moved a gap: half the width of the widest 95 % interval; infinite if one cannot be
/// given.
double gap_noise(std::span<const TargetOutcome> outcomes);

}  // namespace musicsteer
