#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "base/statistics.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// What a steered clip and its unsteered twin share.
struct ClipPair {
    std::size_t prompt = 0;  ///< its index in the stage's list
    std::uint64_t seed = 0;

    friend auto operator<=>(const ClipPair&, const ClipPair&) = default;
};

/// A value for each pair.
using ByPair = std::map<ClipPair, double>;

/// Fewest prompts for an interval over prompts.
inline constexpr std::size_t kMinPromptClusters = 4;

/// The unit of independent observations. Clips of a prompt resemble each other, so it is the prompt. With
/// fewer than four prompts it is the seed, and an interval holds for these prompts alone.
enum class ClusterUnit { kPrompts, kSeeds };

ClusterUnit cluster_unit(const ByPair& values);
/// The mean over clusters of their means, with its t interval; undefined if there is no pair.
Estimate clustered_mean(const ByPair& values);

/// The effect of one strength: the change of a measure against the unsteered clips (scale:
/// measure_target.hpp).
struct DosePoint {
    double alpha = 0.0;          ///< not 0
    ByPair change;               ///< of the pairs that could be measured
    double kl_nats = 0.0;        ///< mean over clips; infinite if one of them overflowed
    std::size_t clips = 0;       ///< planned
    std::size_t overflowed = 0;  ///< steering drove their activations to infinity
    std::size_t unmeasured = 0;  ///< made, but the measure is undefined on them or their twins

    /// False if the remaining clips are a biased selection: a clip overflowed, or more than a tenth cannot be
    /// measured.
    bool is_usable() const;
    Estimate mean() const;  ///< of the change
};

/// One way of steering at several strengths, in order of alpha. Alpha 0, with change 0, is implied.
struct DoseResponse {
    std::vector<DosePoint> points;

    bool is_usable() const;  ///< there are points, and all are usable
    /// Each pair's least-squares slope over alpha, for pairs that every usable point has.
    ByPair slopes() const;
    Estimate slope() const;
    /// The strength at which the KL cost reaches `max_kl_nats`, assuming that it grows as alpha squared; 0 if
    /// no usable point had a cost.
    double alpha_at_kl(double max_kl_nats) const;
    /// The same, limited to 16 times the tried strengths either way; the tried strength if it cost nothing.
    double next_alpha(double max_kl_nats) const;
    /// The same for these strengths alone.
    DoseResponse at(const std::vector<double>& alphas) const;
    /// The change of the measure at that strength, by the slope. Ways of steering are compared by it, since
    /// one may need large alphas and another small ones for the same cost. Undefined unless all points are
    /// usable.
    Estimate effect(double max_kl_nats) const;
    /// Standard deviation of single pairs' effects. NaN with fewer than two.
    double pair_spread(double max_kl_nats) const;
};

/// The range of strengths that move the measure within the cap; empty if there is none. It extends from 0 as
/// long as points are usable, the KL cost is within the cap and no step moves the mean back by more than its
/// noise. Each end moves the mean further than all points before it, by an interval that excludes zero.
AlphaRange usable_range(const DoseResponse& response, double max_kl_nats);

}  // namespace musicsteer
