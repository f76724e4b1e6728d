#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "steering/resolve.hpp"

namespace musicsteer {

/// Vectors whose absolute cosine is above this are too similar: they give a warning and are not
/// orthogonalized.
inline constexpr double kNearlyParallel = 0.95;

/// The parts as one plan, in the order given. An orthogonalized part loses what lies along the parts before
/// it at the same hook point (Gram-Schmidt), whatever their strengths; its norm is not restored. After the
/// dual steering of Prokopiou et al.
/// @throws UsageError if almost nothing would be left of a vector, or it would spread to other heads
SteeringPlan combine_parts(std::span<const ResolvedSteering> parts);

/// Two parts that nearly coincide or oppose, and where they do most.
struct ParallelParts {
    std::size_t first = 0;
    std::size_t second = 0;
    HookPoint point = HookPoint::embed();
    double cosine = 0.0;
    std::size_t places = 0;  ///< hook points where they do
};

/// All such pairs, except those that are orthogonalized.
std::vector<ParallelParts> find_parallel_parts(std::span<const ResolvedSteering> parts);

}  // namespace musicsteer
