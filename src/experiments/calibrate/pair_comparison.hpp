#pragma once

#include <span>
#include <vector>

#include "experiments/calibrate/calibration.hpp"

namespace musicsteer {

/// What steering did to a measure, with bootstrap intervals over the pairs.
/// @param plain, steered  [pair] the measure; NaN where it is not defined
/// @throws InputError where it is not defined on most pairs, or has no percentages
TargetOutcome compare_pairs(const MeasureTarget& target, std::span<const double> plain,
                            std::span<const double> steered);

/// Of the target that is furthest off, in shares of its scale.
double max_gap(std::span<const TargetOutcome> outcomes);

/// How far chance may have moved a gap: half the width of the widest 95 % interval; infinite where one can't
/// be given.
double gap_noise(std::span<const TargetOutcome> outcomes);

}  // namespace musicsteer
