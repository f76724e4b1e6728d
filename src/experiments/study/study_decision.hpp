#pragma once

#include <optional>
#include <span>
#include <vector>

#include "experiments/study/dose_response.hpp"

namespace musicsteer {

/// Probability that a vector no better than a random one is said to steer.
inline constexpr double kStudyLevel = 0.05;
/// Probability that a detectable effect is found.
inline constexpr double kStudyPower = 0.8;
/// Random vectors needed to estimate their spread.
inline constexpr std::size_t kMinControls = 4;

/// A vector's effect in one way of steering, on both sides of 0.
struct WayResponse {
    DoseResponse response;
    /// The norm that alpha 1 adds, as a share of the activations' norm. Vectors are compared at the same
    /// push.
    double push = 1.0;
};

/// The way in which a vector is judged, chosen on other clips than those that judge it.
struct WayChoice {
    std::size_t way = 0;
    double alpha = 0.0;  ///< more than 0: at the KL cap, or the tried strength if that cost nothing
    double sign = 1.0;   ///< of the change at a positive alpha
    double usual = 0.0;  ///< root mean square of the other vectors' effects there, at push 1
};

/// For each vector, the way in which it stands out most: its effect compared with that of the others in the
/// same way at the same push. The studied vector and the random ones choose from the same number of ways. A
/// random vector that is tried in many ways and compared with others in only one seems to steer a third of
/// the time.
/// @param vectors  [vector][way] as many ways for each
/// @throws UsageError if there are fewer than two vectors, or no way
std::vector<WayChoice> choose_ways(const std::vector<std::vector<WayResponse>>& vectors, double max_kl_nats);

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
    kOtherWay,     ///< on held-out clips the measure moves against the chosen direction
    kFailedClips,  ///< clips of the vector failed: the rest would be a biased selection
    kFewControls,  ///< too few random vectors whose clips could be made and measured
};

/// Whether a vector does more than a random one with the same choice.
struct Verdict {
    VerdictReason reason = VerdictReason::kFailedClips;
    double alpha = 0.0;  ///< that was chosen
    Estimate effect;     ///< of it
    ClusterUnit unit = ClusterUnit::kSeeds;
    double sign = 1.0;  ///< the chosen direction; the fields below refer to sign * effect
    /// The random vectors' effects, each in its own way and direction, converted to the vector's way: the
    /// multiple of the usual effect in its own way, times the usual effect in the vector's.
    std::vector<double> controls;
    std::size_t controls_left_out = 0;  ///< because clips failed
    std::optional<double> bound;        ///< that the vector must exceed
    std::optional<double> detectable;   ///< effect that would be found with probability kStudyPower
    std::optional<double>
        more_clips;  ///< how many times as many would decide, if the effect is as large as it looked

    bool steers() const { return reason == VerdictReason::kBeyondRandom; }
};

/// "It steers" requires two things: the vector stands out beyond the prediction interval of one more random
/// vector, mean + t s sqrt(1 + 1/m) with t of m - 1 degrees of freedom at kStudyLevel (one-sided, since the
/// direction was chosen earlier), and its own 95 % interval excludes zero. How far a vector stands out is
/// asinh(effect / usual), which is about normal. docs/finding-settings.md has level and power, by simulation
/// of this function and choose_ways().
Verdict judge(const HeldOutResponse& vector, std::span<const HeldOutResponse> controls);

/// The smallest effect that would be found with probability kStudyPower if random vectors did nothing, in
/// standard deviations of single pairs. @param units  prompts or seeds that the interval is over
double detectable_spread(std::size_t pairs, std::size_t units, std::size_t controls);

}  // namespace musicsteer
