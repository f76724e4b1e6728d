#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/statistics.hpp"
#include "steering/setting.hpp"

namespace musicsteer {

/// Seed -> a figure of its clips, the mean over prompts.
using BySeed = std::map<std::uint64_t, double>;

/// What one strength did: the change of a measure against the unsteered clips of the same prompts and seeds.
struct DosePoint {
    double alpha = 0.0;     ///< not 0
    BySeed change;          ///< seeds without a clip that could be measured are missing
    double kl_nats = 0.0;   ///< mean over clips; infinite if no clip could be made
    Estimate mean() const;  ///< of the change, over seeds
};

/// One way of steering at several strengths, in order of alpha. Alpha 0, with change 0, is understood.
struct DoseResponse {
    std::vector<DosePoint> points;

    /// Each seed's least-squares slope over alpha; of the seeds that every point has; points
    /// without any clip do not count.
    BySeed slopes() const;
    /// The mean of these with its interval.
    Estimate slope() const;
    /// The strength at which the KL cost comes to `max_kl`, by its growing as alpha squared; 0 if no point
    /// has a finite cost.
    double alpha_at_kl(double max_kl) const;
    /// By how much the measure moves at that strength, by the slope: what ways of steering are compared by,
    /// since one may need large alphas and another small ones for the same disturbance.
    double reach(double max_kl) const;
};

/// Strengths that cost little enough and move the measure; empty if none does. From 0 outwards, as far as the
/// KL cost stays within the cap and no step moves the mean back by more than its noise. Each end moves the
/// mean further than all before it, by an interval that excludes zero.
AlphaRange usable_range(const DoseResponse& response, double max_kl);

/// Whether a vector does more than any push of its size does.
struct Verdict {
    Estimate slope;                     ///< of the vector
    std::vector<double> random_slopes;  ///< mean slope of each random vector
    /// |slope| - mean |random slope|, over seeds and random vectors.
    Estimate advantage;
    bool steers = false;
    std::string reason;  ///< a clause: why, or why not
};

/// "It steers" takes three things: the slope's interval excludes zero, the slope is steeper than that of
/// every random vector, and the interval of the difference from them excludes zero.
/// @param random  at the same strengths on the same seeds and prompts
Verdict judge(const DoseResponse& vector, const std::vector<DoseResponse>& random);

}  // namespace musicsteer
