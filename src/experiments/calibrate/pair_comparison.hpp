#pragma once

#include <span>
#include <vector>

#include "experiments/calibrate/calibration.hpp"

namespace musicsteer {

/// What steering did to a measure, with intervals over the pairs.
/// @param plain, steered  [pair] the measure; NaN where it is not defined
/// @throws InputError where it is not defined on most pairs, or has no percentages
TargetOutcome compare_pairs(const MeasureTarget& target, std::span<const double> plain,
                            std::span<const double> steered);

/// Whether what was seen meets a target.
enum class TargetStatus {
    kMet,
    kMissed,  ///< by more than the tolerance
    kUnsure,  ///< within the tolerance, by an interval that could be anything
};

/// kUnsure where half the interval's width exceeds both the tolerance and half of the change that was asked
/// for, or there is no interval.
TargetStatus status_of(const TargetOutcome& outcome, double tolerance);
/// Half the width of the gap's 95 % interval; infinite where there is none.
double half_width(const TargetOutcome& outcome);

/// Of the target that is furthest off, in shares of its scale.
double max_gap(std::span<const TargetOutcome> outcomes);

/// How far chance may have moved a gap: half the width of the widest 95 % interval; infinite where one can't
/// be given.
double gap_noise(std::span<const TargetOutcome> outcomes);

}  // namespace musicsteer
