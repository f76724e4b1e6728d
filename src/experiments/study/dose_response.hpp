#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "base/statistics.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// What a steered clip shares with its unsteered twin.
struct ClipPair {
    std::size_t prompt = 0;  ///< its place in the stage's list
    std::uint64_t seed = 0;

    friend auto operator<=>(const ClipPair&, const ClipPair&) = default;
};

/// A figure of each pair.
using ByPair = std::map<ClipPair, double>;

/// Prompts that an interval over prompts takes.
inline constexpr std::size_t kMinPromptClusters = 4;

/// What counts as one independent observation. Clips of a prompt resemble each other, so it is the prompt;
/// with fewer than four prompts it is the seed, and an interval speaks of these prompts alone.
enum class ClusterUnit { kPrompts, kSeeds };

ClusterUnit cluster_unit(const ByPair& values);
/// The mean over clusters of their means, with its t interval; undefined if there is no pair.
Estimate clustered_mean(const ByPair& values);

/// What one strength did: the change of a measure against the unsteered clips (measure_target.hpp says in
/// what scale).
struct DosePoint {
    double alpha = 0.0;          ///< not 0
    ByPair change;               ///< of the pairs that could be measured
    double kl_nats = 0.0;        ///< mean over clips; infinite if one of them overflowed
    std::size_t clips = 0;       ///< that were to be made
    std::size_t overflowed = 0;  ///< steering drove their activations to infinity
    std::size_t unmeasured = 0;  ///< made, but the measure is not defined on them or their twins

    /// False where what is left are survivors: a clip overflowed, or more than a tenth can't be measured.
    bool is_usable() const;
    Estimate mean() const;  ///< of the change
};

/// One way of steering at several strengths, in order of alpha. Alpha 0, with change 0, is understood.
struct DoseResponse {
    std::vector<DosePoint> points;

    bool is_usable() const;  ///< there are points, and each of them is
    /// Each pair's least-squares slope over alpha: of the pairs that every usable point has.
    ByPair slopes() const;
    Estimate slope() const;
    /// The strength at which the KL cost comes to `max_kl`, by its growing as alpha squared; 0 if no usable
    /// point cost anything.
    double alpha_at_kl(double max_kl) const;
    /// The same within 16 times of what was tried, either way; what was tried, where that cost nothing.
    double next_alpha(double max_kl) const;
    /// Of these strengths alone.
    DoseResponse at(const std::vector<double>& alphas) const;
    /// By how much the measure moves at that strength, by the slope: what ways of steering are compared by,
    /// since one may need large alphas and another small ones for the same disturbance. Undefined unless all
    /// points are usable.
    Estimate effect(double max_kl) const;
    /// How far single pairs' effects lie apart: their standard deviation. NaN with fewer than two.
    double pair_spread(double max_kl) const;
};

/// Strengths that cost little enough and move the measure; empty if none does. From 0 outwards, as far as the
/// points are usable, the KL cost stays within the cap and no step moves the mean back by more than its
/// noise. Each end moves the mean further than all before it, by an interval that excludes zero.
AlphaRange usable_range(const DoseResponse& response, double max_kl);

}  // namespace musicsteer
