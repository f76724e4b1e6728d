#include "experiments/calibrate/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/numbers.hpp"
#include "experiments/calibrate/kl_cap_search.hpp"
#include "experiments/calibrate/pair_comparison.hpp"
#include "experiments/calibrate/response_model.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using Strengths = std::vector<double>;

constexpr double kRungs[] = {0.25, 0.5, 1.0};  // share of the way to an edge
constexpr double kConverged = 0.2;             // of the tolerance
constexpr double kCapForSearch = 0.95;         // leaves room for other clips to cost more
constexpr int kUsualEdgeTries = 4;
constexpr int kUsualRounds = 2;  // when there are enough pairs
// Search and check both miss by chance. Together they stay within the tolerance 19 times in 20.
constexpr double kNoiseShare = 0.7;     // half the width of a 95 % interval, as a share of the tolerance
constexpr double kWorthGrowing = 1.25;  // times as many pairs
constexpr std::size_t kPairStep = 16;   // a multiple of the batch size

double mean_kl(const Observation& observation) {
    return mean(observation.kl);
}

Strengths rounded(Strengths strengths) {
    for (double& strength : strengths) strength = rounded_to_digits(strength, kStrengthDigits);
    return strengths;
}

class Calibrator {
  public:
    Calibrator(const std::vector<MeasureTarget>& targets, const CalibrationOptions& options,
               const Observe& observe)
        : targets_(targets),
          options_(options),
          observe_(observe),
          zero_(targets.size(), 0.0),
          expected_clips_(options.expected_clips(targets.size())) {}

    Calibration run() {
        take_pairs(options_.pairs);
        find_edges();
        ResponseModel model = measure_ladder();
        for (;;) {
            refine(model);
            const std::size_t needed = pairs_needed();
            if (needed == pairs_) break;
            take_pairs(needed);
        }
        if (result_.reachable) check();
        return std::move(result_);
    }

  private:
    std::vector<Observation> seen_at(const std::vector<Strengths>& strengths, PairRange pairs) {
        clips_ += strengths.size() * pairs.count;
        return observe_(strengths, pairs);
    }

    const CalibrationStep& store(CalibrationStep step) {
        step.expected_clips = expected_clips_;
        result_.steps.push_back(std::move(step));
        if (options_.on_step) options_.on_step(result_.steps.back());
        return result_.steps.back();
    }

    Strengths alone(std::size_t vector, double strength) const {
        Strengths strengths = zero_;
        strengths[vector] = strength;
        return strengths;
    }

    /// Makes the missing unsteered clips of the search.
    void take_pairs(std::size_t count) {
        if (pairs_ > 0) {
            const std::size_t check = std::clamp(count, options_.check_pairs, options_.max_check_pairs);
            expected_clips_ =
                static_cast<std::int64_t>(clips_ + (count - pairs_) + kUsualRounds * count + 2 * check);
        }
        const Observation more = seen_at({zero_}, {pairs_, count - pairs_}).front();
        unsteered_.values.resize(targets_.size());
        for (std::size_t i = 0; i < targets_.size(); ++i)
            unsteered_.values[i].insert(unsteered_.values[i].end(), more.values[i].begin(),
                                        more.values[i].end());
        unsteered_.kl.insert(unsteered_.kl.end(), more.kl.begin(), more.kl.end());
        pairs_ = count;
        result_.searched = keep("unsteered", zero_, unsteered_, unsteered_, {0, pairs_});
    }

    /// The targets as changes of the unsteered clips.
    std::vector<double> wanted_changes() const {
        const Observation& plain = unsteered_;
        std::vector<double> changes;
        for (std::size_t i = 0; i < targets_.size(); ++i) {
            const TargetOutcome outcome = compare_pairs(targets_[i], plain.values[i], plain.values[i]);
            changes.push_back((outcome.wanted - outcome.unsteered) / targets_[i].scale(outcome.unsteered));
        }
        return changes;
    }

    /// Compares with the unsteered clips of the same pairs, the first ones in `plain`.
    const CalibrationStep& keep(const std::string& stage, const Strengths& strengths,
                                const Observation& plain, const Observation& steered, PairRange pairs) {
        CalibrationStep step{stage, strengths, {}, mean_kl(steered), pairs};
        for (std::size_t i = 0; i < targets_.size(); ++i) {
            const auto before = std::span(plain.values[i]).first(steered.values[i].size());
            step.outcomes.push_back(compare_pairs(targets_[i], before, steered.values[i]));
        }
        return store(std::move(step));
    }

    void find_edges() {
        const PairRange pairs{0, std::min(options_.probe_pairs, options_.pairs)};
        std::vector<KlCapSearch> searches;
        for (std::size_t j = 0; j < targets_.size(); ++j) {
            for (const double side : {-1.0, 1.0})
                searches.emplace_back(side * options_.first_strength, options_.max_kl_nats);
        }
        for (;;) {
            std::vector<Strengths> tries;
            std::vector<KlCapSearch*> open;
            for (std::size_t k = 0; k < searches.size(); ++k) {
                if (searches[k].done()) continue;
                open.push_back(&searches[k]);
                tries.push_back(alone(k / 2, searches[k].next()));
            }
            if (open.empty()) break;
            const std::vector<Observation> seen = seen_at(tries, pairs);
            for (std::size_t k = 0; k < open.size(); ++k) {
                open[k]->take(mean_kl(seen[k]));
                store({"edge", tries[k], {}, mean_kl(seen[k]), pairs});
            }
        }
        for (std::size_t j = 0; j < targets_.size(); ++j) {
            result_.ranges.emplace_back(searches[2 * j].edge(), searches[2 * j + 1].edge());
            if (result_.ranges[j].first == result_.ranges[j].second)
                throw InputError("vector " + std::to_string(j + 1) +
                                 ": not even the weakest strength that was tried stays within the cap on KL");
        }
    }

    ResponseModel measure_ladder() {
        const PairRange pairs{0, std::min(options_.coarse_pairs, options_.pairs)};
        std::vector<Strengths> ladder;
        std::vector<std::vector<double>> rungs(targets_.size());
        for (std::size_t j = 0; j < targets_.size(); ++j) {
            for (const double edge : {result_.ranges[j].first, result_.ranges[j].second}) {
                for (const double share : kRungs) {
                    if (edge != 0.0) rungs[j].push_back(edge * share);
                }
            }
            std::sort(rungs[j].begin(), rungs[j].end());
            for (const double rung : rungs[j]) ladder.push_back(alone(j, rung));
        }
        const std::vector<Observation> seen = seen_at(ladder, pairs);
        std::vector<std::vector<Curve>> effects(targets_.size(), std::vector<Curve>(targets_.size()));
        std::vector<Curve> kl(targets_.size());
        std::size_t k = 0;
        for (std::size_t j = 0; j < targets_.size(); ++j) {
            for (std::size_t rung = 0; rung < rungs[j].size(); ++rung, ++k) {
                const CalibrationStep& step = keep("ladder", ladder[k], unsteered_, seen[k], pairs);
                add_point(kl[j], rungs[j][rung], step.kl_nats);
                for (std::size_t i = 0; i < targets_.size(); ++i)
                    add_point(effects[i][j], rungs[j][rung], step.outcomes[i].change.value);
            }
            add_zero(kl[j]);
            for (std::size_t i = 0; i < targets_.size(); ++i) add_zero(effects[i][j]);
        }
        return {std::move(effects), std::move(kl)};
    }

    static void add_point(Curve& curve, double x, double y) {
        curve.x.push_back(x);
        curve.y.push_back(y);
    }

    static void add_zero(Curve& curve) {
        const auto place = std::lower_bound(curve.x.begin(), curve.x.end(), 0.0) - curve.x.begin();
        curve.x.insert(curve.x.begin() + place, 0.0);
        curve.y.insert(curve.y.begin() + place, 0.0);
    }

    bool was_tried(const Strengths& strengths) const {
        return std::any_of(result_.steps.begin(), result_.steps.end(), [&](const CalibrationStep& step) {
            if (step.stage != "refine" || step.pairs.count != pairs_) return false;
            double squared = 0.0;
            for (std::size_t j = 0; j < strengths.size(); ++j) {
                const double range = result_.ranges[j].second - result_.ranges[j].first;
                squared += std::pow((strengths[j] - step.strengths[j]) / range, 2);
            }
            return squared < 1e-5;  // 0.3 % of the range
        });
    }

    static double expected_gap(const ResponseModel& model, const Strengths& strengths,
                               const std::vector<double>& changes) {
        const std::vector<double> expected = model.predict(strengths);
        double gap = 0.0;
        for (std::size_t i = 0; i < changes.size(); ++i)
            gap = std::max(gap, std::abs(expected[i] - changes[i]));
        return gap;
    }

    /// The same direction, as far as the cap and the known range of each vector allow.
    Strengths outermost(const ResponseModel& model, const Strengths& strengths, double cap) const {
        const auto times = [&](double factor) {
            Strengths result = strengths;
            for (double& strength : result) strength *= factor;
            return result;
        };
        const auto is_allowed = [&](double factor) {
            const Strengths scaled = times(factor);
            for (std::size_t j = 0; j < scaled.size(); ++j) {
                const auto [lowest, highest] = result_.ranges[j];
                if (scaled[j] < lowest || scaled[j] > highest) return false;
            }
            return model.predict_kl(scaled) <= cap;
        };
        double factor = 1.0;
        for (double step = 8.0; step > 1.001; step = std::sqrt(step)) {
            while (factor < 1e6 && is_allowed(factor * step)) factor *= step;
        }
        return times(factor);
    }

    /// If the noisy ladder says that the targets are out of reach, the farthest point is tried before that is
    /// accepted.
    Strengths next_try(const ResponseModel& model, const std::vector<double>& changes, double cap) const {
        const Strengths solved = model.solve(changes, cap);
        if (expected_gap(model, solved, changes) > options_.tolerance) {
            const Strengths farthest = rounded(outermost(model, solved, cap));
            if (!was_tried(farthest)) return farthest;
        }
        return rounded(solved);
    }

    void refine(ResponseModel& model) {
        const std::vector<double> changes = wanted_changes();
        const double cap = options_.max_kl_nats * kCapForSearch;
        const PairRange all{0, pairs_};
        double min_gap = std::numeric_limits<double>::infinity();
        for (int round = 0; round < options_.rounds; ++round) {
            const Strengths strengths = next_try(model, changes, cap);
            if (was_tried(strengths)) break;
            const Observation seen = seen_at({strengths}, all).front();
            const CalibrationStep& step = keep("refine", strengths, unsteered_, seen, all);
            std::vector<double> effects;
            for (const TargetOutcome& outcome : step.outcomes) effects.push_back(outcome.change.value);
            model.update(strengths, effects, step.kl_nats, static_cast<double>(pairs_));
            if (step.kl_nats <= options_.max_kl_nats && max_gap(step.outcomes) < min_gap) {
                min_gap = max_gap(step.outcomes);
                result_.searched = step;
            }
            if (min_gap <= options_.tolerance * kConverged) break;
            // More rounds on these pairs would only follow noise.
            const bool is_within_noise = min_gap <= gap_noise(result_.searched.outcomes);
            if (is_within_noise && pairs_needed() > pairs_) break;
        }
        decide(model, changes, cap, min_gap);
    }

    /// The best result so far, or the model's optimum if that promises more.
    void decide(const ResponseModel& model, const std::vector<double>& changes, double cap, double min_gap) {
        result_.strengths = result_.searched.strengths;
        result_.reachable = min_gap <= options_.tolerance;
        if (min_gap <= options_.tolerance * kConverged) return;
        const Strengths solved = rounded(model.solve(changes, cap));
        const double gap = expected_gap(model, solved, changes);
        if (gap > std::min(min_gap, options_.tolerance)) return;
        result_.strengths = solved;
        result_.reachable = true;
    }

    /// As many as make chance small compared with the tolerance. No more than there are if that is already
    /// so, or if a target is further away than chance could explain.
    std::size_t pairs_needed() const {
        const double noise = gap_noise(result_.searched.outcomes);
        if (!result_.reachable && max_gap(result_.searched.outcomes) > options_.tolerance + noise)
            return pairs_;
        const double times = std::pow(noise / (kNoiseShare * options_.tolerance), 2);
        if (times < kWorthGrowing || pairs_ >= options_.max_pairs) return pairs_;
        const double needed = std::min(times * static_cast<double>(pairs_), 1e9);
        const std::size_t steps = static_cast<std::size_t>(needed) / kPairStep + 1;
        return std::min(steps * kPairStep, options_.max_pairs);
    }

    void check() {
        const PairRange held_out{options_.max_pairs,
                                 std::clamp(pairs_, options_.check_pairs, options_.max_check_pairs)};
        const std::vector<Observation> seen = seen_at({zero_, result_.strengths}, held_out);
        result_.checked = keep("check", result_.strengths, seen[0], seen[1], held_out);
        const double cost = result_.checked.kl_nats;
        if (std::isfinite(cost)) result_.checked_kl = mean_interval_t(seen[1].kl);
        bool missed = !(cost <= options_.max_kl_nats);
        for (const TargetOutcome& outcome : result_.checked.outcomes) {
            const TargetStatus status = status_of(outcome, options_.tolerance);
            missed = missed || status == TargetStatus::kMissed;
            result_.unsure = result_.unsure || status == TargetStatus::kUnsure;
        }
        result_.unsure = result_.unsure && !missed;
        result_.met = !missed && !result_.unsure;
    }

    const std::vector<MeasureTarget>& targets_;
    const CalibrationOptions& options_;
    const Observe& observe_;
    const Strengths zero_;
    std::size_t pairs_ = 0;  ///< of the search, by now
    Observation unsteered_;  ///< of all of them
    std::size_t clips_ = 0;  ///< made
    std::int64_t expected_clips_;
    Calibration result_;
};

}  // namespace

void CalibrationOptions::validate() const {
    if (!std::isfinite(max_kl_nats) || max_kl_nats <= 0.0)
        throw UsageError("the cap on KL must be more than 0 nats");
    if (!std::isfinite(tolerance) || tolerance <= 0.0) throw UsageError("the tolerance must be more than 0");
    if (pairs < 2 || check_pairs < 2)
        throw UsageError("search and check need at least 2 pairs of clips each");
    if (max_pairs < pairs || max_check_pairs < check_pairs)
        throw UsageError("search and check can't begin with more pairs than they may grow to");
    if (rounds < 1) throw UsageError("at least one round of refinement is needed");
}

std::int64_t CalibrationOptions::expected_clips(std::size_t vectors) const {
    const std::size_t edges = 2 * vectors * kUsualEdgeTries * std::min(probe_pairs, pairs);
    const std::size_t ladder = 2 * vectors * std::size(kRungs) * std::min(coarse_pairs, pairs);
    return static_cast<std::int64_t>(edges + ladder + pairs * (1 + static_cast<std::size_t>(rounds)) +
                                     2 * check_pairs);
}

Calibration calibrate(const std::vector<MeasureTarget>& targets, const CalibrationOptions& options,
                      const Observe& observe) {
    options.validate();
    if (targets.empty()) throw UsageError("nothing to reach: give a target");
    return Calibrator(targets, options, observe).run();
}

}  // namespace musicsteer
