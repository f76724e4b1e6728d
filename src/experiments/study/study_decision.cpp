#include "experiments/study/study_decision.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/student_t.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kConfidence = 0.95;  // of the intervals
constexpr double kMaxTimes = 16.0;    // more than this is not worth proposing

/// How far from 0 an interval's centre must be to exclude 0, in standard errors.
double interval_quantile(std::size_t units) {
    return student_t_quantile(0.5 + kConfidence / 2.0, static_cast<double>(units) - 1.0);
}

/// By how many standard errors an effect must exceed a threshold to be found with probability kStudyPower.
double power_quantile(std::size_t units) {
    return student_t_quantile(kStudyPower, static_cast<double>(units) - 1.0);
}

/// The standard error of an interval.
double standard_error(const Estimate& estimate) {
    return 0.5 * (estimate.high - estimate.low) / interval_quantile(estimate.units);
}

double standard_deviation(std::span<const double> values) {
    double squares = 0.0;
    for (const double value : values) squares += std::pow(value - mean(values), 2);
    return std::sqrt(squares / (static_cast<double>(values.size()) - 1.0));
}

/// How far above the mean of m values one more value may lie at kStudyLevel, in standard deviations.
double prediction_quantile(std::size_t m) {
    const auto count = static_cast<double>(m);
    return student_t_quantile(1.0 - kStudyLevel, count - 1.0) * std::sqrt(1.0 + 1.0 / count);
}

/// A vector's effect at push 1 in the chosen direction, with its standard error.
struct PushEffect {
    double effect = 0.0;
    double error = 0.0;
    double usual = 0.0;  ///< never 0
    std::size_t units = 0;
};

PushEffect push_effect(const HeldOutResponse& held_out, const Estimate& slope) {
    return {held_out.choice.sign * slope.value / held_out.push, standard_error(slope) / held_out.push,
            held_out.choice.usual, slope.units};
}

/// Slopes of responses with only usable points.
Estimate usable_slope(const DoseResponse& response) {
    return response.is_usable() ? response.slope() : Estimate{};
}

double mean_square(std::span<const double> values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

/// How far a vector stands out from the others, on a scale on which this skewed quantity is about normal.
double standing(const PushEffect& vector) {
    return std::asinh(vector.effect / vector.usual);
}

/// How many times as many clips would find an effect of this size. More clips reduce the part of the random
/// vectors' spread that is noise.
std::optional<double> times_to_decide(const PushEffect& vector, const std::vector<PushEffect>& controls) {
    std::vector<double> multiples, errors;
    for (const PushEffect& control : controls) {
        multiples.push_back(control.effect / control.usual);
        errors.push_back(control.error / control.usual);
    }
    const double noise = mean_square(errors);
    const double real = std::max(0.0, std::pow(standard_deviation(multiples), 2) - noise);
    const double quantile = prediction_quantile(controls.size());
    for (double times = 1.25; times <= kMaxTimes; times *= 1.25) {
        const double error = vector.error / vector.usual / std::sqrt(times);
        const double bound = mean(multiples) + quantile * std::sqrt(real + noise / times);
        const double needed = std::max(bound, interval_quantile(vector.units) * error);
        if (vector.effect / vector.usual >= needed + power_quantile(vector.units) * error) return times;
    }
    return std::nullopt;
}

/// [vector] effects at push 1 in one way; 0 where clips are missing.
struct WayEffects {
    std::vector<double> effects;
    double noise = 0.0;  ///< standard error, pooled

    /// Root mean square of the others' effects, at least their noise.
    double usual_beside(std::size_t vector) const {
        const double all = mean_square(effects) * static_cast<double>(effects.size());
        const double others =
            (all - effects[vector] * effects[vector]) / static_cast<double>(effects.size() - 1);
        return std::max({std::sqrt(std::max(0.0, others)), noise, std::numeric_limits<double>::min()});
    }
};

WayEffects effects_in_way(const std::vector<std::vector<WayResponse>>& vectors, std::size_t way) {
    WayEffects in_way;
    std::vector<double> errors;
    for (const std::vector<WayResponse>& ways : vectors) {
        const Estimate slope = usable_slope(ways.at(way).response);
        const bool is_known = std::isfinite(slope.value);
        in_way.effects.push_back(is_known ? slope.value / ways[way].push : 0.0);
        if (slope.has_interval()) errors.push_back(standard_error(slope) / ways[way].push);
    }
    in_way.noise = std::sqrt(mean_square(errors));
    return in_way;
}

}  // namespace

std::vector<WayChoice> choose_ways(const std::vector<std::vector<WayResponse>>& vectors, double max_kl_nats) {
    if (vectors.size() < 2 || vectors.front().empty())
        throw UsageError("there are no ways of steering, or no vectors, to choose from");
    std::vector<WayChoice> choices(vectors.size());
    std::vector<double> farthest(vectors.size(), -1.0);
    for (std::size_t way = 0; way < vectors.front().size(); ++way) {
        const WayEffects in_way = effects_in_way(vectors, way);
        for (std::size_t i = 0; i < vectors.size(); ++i) {
            const double usual = in_way.usual_beside(i);
            const double effect = in_way.effects[i];
            if (!(std::abs(effect) / usual > farthest[i])) continue;
            farthest[i] = std::abs(effect) / usual;
            choices[i] = {way, vectors[i][way].response.next_alpha(max_kl_nats), effect < 0.0 ? -1.0 : 1.0,
                          usual};
        }
    }
    return choices;
}

Verdict judge(const HeldOutResponse& vector, std::span<const HeldOutResponse> all_controls) {
    Verdict verdict;
    verdict.sign = vector.choice.sign;
    verdict.alpha = vector.choice.alpha;
    std::vector<PushEffect> controls;
    for (const HeldOutResponse& control : all_controls) {
        const Estimate slope = usable_slope(control.response);
        if (slope.has_interval()) controls.push_back(push_effect(control, slope));
    }
    verdict.controls_left_out = all_controls.size() - controls.size();
    const Estimate slope = usable_slope(vector.response);
    verdict.unit = cluster_unit(vector.response.slopes());
    if (!slope.has_interval()) return verdict;
    const double alpha = vector.choice.alpha;
    verdict.effect = {slope.value * alpha, slope.low * alpha, slope.high * alpha, slope.units};
    const PushEffect own = push_effect(vector, slope);
    const double push = alpha * vector.push;
    for (const PushEffect& control : controls)
        verdict.controls.push_back(control.effect / control.usual * own.usual * push);
    if (controls.size() < kMinControls) {
        verdict.reason = VerdictReason::kFewControls;
        return verdict;
    }
    std::vector<double> of_controls;
    for (const PushEffect& control : controls) of_controls.push_back(standing(control));
    const double bound =
        mean(of_controls) + prediction_quantile(controls.size()) * standard_deviation(of_controls);
    verdict.bound = push * own.usual * std::sinh(bound);
    const double error = own.error * push;
    verdict.detectable =
        std::max(*verdict.bound, interval_quantile(own.units) * error) + power_quantile(own.units) * error;
    if (own.effect < 0.0 && slope.excludes_zero()) {
        verdict.reason = VerdictReason::kOtherWay;
    } else if (!slope.excludes_zero()) {
        verdict.reason = VerdictReason::kHoldsZero;
    } else if (!(standing(own) > bound)) {
        verdict.reason = VerdictReason::kLikeRandom;
    } else {
        verdict.reason = VerdictReason::kBeyondRandom;
    }
    if (!verdict.steers() && own.effect > 0.0) verdict.more_clips = times_to_decide(own, controls);
    return verdict;
}

double detectable_spread(std::size_t pairs, std::size_t units, std::size_t controls) {
    const double threshold = std::max(prediction_quantile(controls), interval_quantile(units));
    return (threshold + power_quantile(units)) / std::sqrt(static_cast<double>(pairs));
}

}  // namespace musicsteer
