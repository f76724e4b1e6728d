#pragma once

#include <optional>
#include <span>
#include <vector>

#include "experiments/study/dose_response.hpp"

namespace musicsteer {

/// How often a vector that is no better than a random one is to be taken for one that steers.
inline constexpr double kStudyLevel = 0.05;
/// How likely an effect that is called detectable is found.
inline constexpr double kStudyPower = 0.8;
/// Random vectors that a verdict needs, for their spread to be known.
inline constexpr std::size_t kMinControls = 4;

/// What a vector did in one way of steering, on either side of 0.
struct WayResponse {
    DoseResponse response;
    /// What alpha 1 adds, as a share of the activations' norm: vectors are compared at the same push.
    double push = 1.0;
};

/// The way of steering that a vector is judged by, chosen on clips that don't judge it.
struct WayChoice {
    std::size_t way = 0;
    double alpha = 0.0;  ///< more than 0: at the KL cap, or what was tried where that cost nothing
    double sign = 1.0;   ///< of the change at a positive alpha
    double usual = 0.0;  ///< what the other vectors do there: root mean square of their effects at push 1
};

/// For each vector the way in which it stands out most: its effect against what the others do in the same
/// way at the same push. The studied vector and every random one choose like this, from as many ways: a
/// vector that is tried in many ways and held against random ones in one of them seems to steer a third of
/// the time.
/// @param vectors  [vector][way] as many ways for each
/// @throws UsageError if there are fewer than two vectors, or no way
std::vector<WayChoice> choose_ways(const std::vector<std::vector<WayResponse>>& vectors, double max_kl);

/// A vector in the way chosen for it, on held-out clips.
struct HeldOutResponse {
    DoseResponse response;
    double push = 1.0;
    WayChoice choice;
};

enum class VerdictReason {
    kBeyondRandom,  ///< it steers
    kLikeRandom,
    kHoldsZero,
    kOtherWay,     ///< on held-out clips the measure moves against the direction that was chosen
    kFailedClips,  ///< of the vector: what is left would be survivors
    kFewControls,  ///< random vectors whose clips could be made and measured
};

/// Whether a vector does more than a random one does that had the same choice.
struct Verdict {
    VerdictReason reason = VerdictReason::kFailedClips;
    double alpha = 0.0;  ///< that was chosen
    Estimate effect;     ///< of it
    ClusterUnit unit = ClusterUnit::kSeeds;
    double sign = 1.0;  ///< the direction that was chosen: what follows is sign * effect
    /// What the random vectors' effects, each in its own way and direction, amount to in the vector's way:
    /// multiples of what is usual in one, times what is usual in the other.
    std::vector<double> controls;
    std::size_t controls_left_out = 0;  ///< because clips failed
    std::optional<double> bound;        ///< that the vector has to exceed
    std::optional<double> detectable;   ///< an effect that would be found with probability kStudyPower
    std::optional<double> more_clips;   ///< times as many would decide, if the effect is what was seen

    bool steers() const { return reason == VerdictReason::kBeyondRandom; }
};

/// "It steers" takes two things: the vector stands out beyond the prediction interval of one more random
/// vector, mean + t s sqrt(1 + 1/m) with t of m - 1 degrees of freedom at kStudyLevel (one-sided, since the
/// direction was chosen before), and its own 95 % interval excludes zero. How far a vector stands out is
/// asinh(effect / usual), which is about normal. docs/finding-settings.md has level and power, by simulation of
/// this function and choose_ways().
Verdict judge(const HeldOutResponse& vector, std::span<const HeldOutResponse> controls);

/// The smallest effect that would be found with probability kStudyPower if random vectors did nothing, in
/// standard deviations of single pairs. @param units  prompts or seeds that the interval is over
double detectable_spread(std::size_t pairs, std::size_t units, std::size_t controls);

}  // namespace musicsteer
