#include "experiments/study/study_decision.hpp"

#include <algorithm>
#include <cmath>

#include "base/errors.hpp"
#include "base/student_t.hpp"

namespace musicsteer {
namespace {

constexpr double kConfidence = 0.95;         // of the intervals
constexpr double kNormalQuantile = 0.84162;  // of kStudyPower
constexpr double kMaxTimes = 16.0;           // worth proposing in place of what was done

/// The standard error that an interval was made from.
double standard_error(const Estimate& estimate) {
    const double freedom = static_cast<double>(estimate.units) - 1.0;
    return 0.5 * (estimate.high - estimate.low) / student_t_quantile(0.5 + kConfidence / 2.0, freedom);
}

double standard_deviation(std::span<const double> values) {
    double squares = 0.0;
    for (const double value : values) squares += std::pow(value - mean(values), 2);
    return std::sqrt(squares / (static_cast<double>(values.size()) - 1.0));
}

/// How far beyond their mean one more of m values lies at kStudyLevel, in standard deviations.
double prediction_quantile(std::size_t m) {
    const auto count = static_cast<double>(m);
    return student_t_quantile(1.0 - kStudyLevel, count - 1.0) * std::sqrt(1.0 + 1.0 / count);
}

/// What the random vectors did, each in its direction.
struct Controls {
    std::vector<double> effects;
    double mean_squared_error = 0.0;  ///< of their effects, within each

    double spread() const {
        return std::sqrt(std::max(std::pow(standard_deviation(effects), 2), mean_squared_error));
    }
};

Controls usable_controls(std::span<const HeldOutResponse> all, double max_kl) {
    Controls controls;
    double squared_errors = 0.0;
    for (const HeldOutResponse& control : all) {
        const Estimate effect = control.response.effect(max_kl);
        if (!effect.has_interval()) continue;
        controls.effects.push_back(control.sign * effect.value);
        squared_errors += std::pow(standard_error(effect), 2);
    }
    if (!controls.effects.empty())
        controls.mean_squared_error = squared_errors / static_cast<double>(controls.effects.size());
    return controls;
}

/// How many times as many clips would find an effect of this size: of a random vector's spread, the part
/// that is noise gets smaller.
std::optional<double> times_to_decide(double effect, double error, const Controls& controls) {
    const double noise = controls.mean_squared_error;
    const double real = std::max(0.0, std::pow(standard_deviation(controls.effects), 2) - noise);
    const double quantile = prediction_quantile(controls.effects.size());
    for (double times = 1.25; times <= kMaxTimes; times *= 1.25) {
        const double bound = mean(controls.effects) + quantile * std::sqrt(real + noise / times);
        const double needed = std::max(bound, student_t_quantile(0.975, 8.0) * error / std::sqrt(times));
        if (effect >= needed + kNormalQuantile * error / std::sqrt(times)) return times;
    }
    return std::nullopt;
}

}  // namespace

WayChoice choose_way(std::span<const DoseResponse> ways, double max_kl) {
    if (ways.empty()) throw UsageError("there is no way of steering to choose from");
    WayChoice choice;
    double farthest = -1.0;
    for (std::size_t i = 0; i < ways.size(); ++i) {
        const double effect = ways[i].effect(max_kl).value;
        const double reach = std::isfinite(effect) ? std::abs(effect) : 0.0;
        if (reach <= farthest) continue;
        farthest = reach;
        choice.way = i;
        choice.sign = effect < 0.0 ? -1.0 : 1.0;
    }
    choice.alpha = ways[choice.way].next_alpha(max_kl);
    return choice;
}

Verdict judge(const HeldOutResponse& vector, std::span<const HeldOutResponse> all_controls, double max_kl) {
    Verdict verdict;
    verdict.sign = vector.sign;
    const Controls controls = usable_controls(all_controls, max_kl);
    verdict.controls = controls.effects;
    verdict.controls_left_out = all_controls.size() - controls.effects.size();
    verdict.effect = vector.response.effect(max_kl);
    verdict.unit = cluster_unit(vector.response.slopes());
    if (!verdict.effect.has_interval()) return verdict;
    if (controls.effects.size() < kMinControls) {
        verdict.reason = VerdictReason::kFewControls;
        return verdict;
    }
    const double effect = vector.sign * verdict.effect.value;
    const double error = standard_error(verdict.effect);
    verdict.bound = mean(controls.effects) + prediction_quantile(controls.effects.size()) * controls.spread();
    verdict.detectable = std::max(*verdict.bound, 0.0) + kNormalQuantile * error;
    if (effect < 0.0 && verdict.effect.excludes_zero()) {
        verdict.reason = VerdictReason::kOtherWay;
    } else if (!verdict.effect.excludes_zero()) {
        verdict.reason = VerdictReason::kHoldsZero;
    } else if (!(effect > *verdict.bound)) {
        verdict.reason = VerdictReason::kLikeRandom;
    } else {
        verdict.reason = VerdictReason::kBeyondRandom;
    }
    if (!verdict.steers() && effect > 0.0) verdict.more_clips = times_to_decide(effect, error, controls);
    return verdict;
}

double detectable_spread(std::size_t pairs, std::size_t controls) {
    return (prediction_quantile(controls) + kNormalQuantile) / std::sqrt(static_cast<double>(pairs));
}

}  // namespace musicsteer
