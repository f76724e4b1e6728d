#include "experiments/study/study_decision.hpp"

#include <algorithm>
#include <cmath>

namespace musicsteer {
namespace {

std::vector<double> values_of(const BySeed& by_seed) {
    std::vector<double> values;
    for (const auto& [seed, value] : by_seed) values.push_back(value);
    return values;
}

Estimate estimate_of(const BySeed& by_seed) {
    return by_seed.empty() ? Estimate{} : bootstrap_mean(values_of(by_seed));
}

bool has_in_all(const std::vector<BySeed>& sets, std::uint64_t seed) {
    return std::all_of(sets.begin(), sets.end(), [&](const BySeed& set) { return set.contains(seed); });
}

/// Changes of `b` over those of `a`, on the seeds that both have.
std::vector<double> steps(const BySeed& a, const BySeed& b) {
    std::vector<double> result;
    for (const auto& [seed, value] : b)
        if (a.contains(seed)) result.push_back(value - a.at(seed));
    return result;
}

/// Whether going on from `from` moves the measure back by more than its noise.
bool turns_back(const DosePoint& from, const DosePoint& to, double towards) {
    const std::vector<double> moved = steps(from.change, to.change);
    if (moved.empty()) return true;
    const Estimate step = bootstrap_mean(moved);
    return towards > 0.0 ? step.high < 0.0 : step.low > 0.0;
}

/// How far the points on one side of 0 are usable. @param outwards  their order @param sign  of the slope
double usable_end(const std::vector<const DosePoint*>& outwards, double max_kl, double sign) {
    double end = 0.0;
    double moved = 0.0;
    const DosePoint* farthest = nullptr;  // that moved the measure
    for (const DosePoint* point : outwards) {
        const double towards = point->alpha > 0.0 ? sign : -sign;
        if (!(point->kl_nats <= max_kl) || point->change.empty()) break;
        if (farthest && turns_back(*farthest, *point, towards)) break;
        const Estimate change = point->mean();
        if (!change.excludes_zero() || !(towards * change.value > moved)) continue;
        moved = towards * change.value;
        end = point->alpha;
        farthest = point;
    }
    return end;
}

/// Slopes of the vector and the random ones on the seeds that all of them have.
struct SharedSlopes {
    std::vector<double> vector;               ///< [seed]
    std::vector<std::vector<double>> random;  ///< [draw][seed]
};

SharedSlopes shared_slopes(const DoseResponse& vector, const std::vector<DoseResponse>& random) {
    std::vector<BySeed> all{vector.slopes()};
    for (const DoseResponse& response : random) all.push_back(response.slopes());
    SharedSlopes shared;
    shared.random.resize(random.size());
    for (const auto& [seed, slope] : all.front()) {
        if (!has_in_all(all, seed)) continue;
        shared.vector.push_back(slope);
        for (std::size_t i = 0; i < random.size(); ++i) shared.random[i].push_back(all[i + 1].at(seed));
    }
    return shared;
}

double drawn_mean(const std::vector<double>& values, const std::vector<std::size_t>& drawn) {
    double sum = 0.0;
    for (const std::size_t unit : drawn) sum += values[unit];
    return sum / static_cast<double>(drawn.size());
}

Estimate advantage_of(const SharedSlopes& slopes) {
    const std::vector<std::size_t> counts{slopes.vector.size(), slopes.random.size()};
    return bootstrap(counts, [&](const DrawnUnits& drawn) {
        double random = 0.0;
        for (const std::size_t draw : drawn[1]) random += std::abs(drawn_mean(slopes.random[draw], drawn[0]));
        return std::abs(drawn_mean(slopes.vector, drawn[0])) - random / static_cast<double>(drawn[1].size());
    });
}

}  // namespace

Estimate DosePoint::mean() const {
    return estimate_of(change);
}

BySeed DoseResponse::slopes() const {
    BySeed result;
    std::vector<double> alphas{0.0};
    std::vector<BySeed> changes;
    for (const DosePoint& point : points) {
        if (point.change.empty()) continue;
        alphas.push_back(point.alpha);
        changes.push_back(point.change);
    }
    if (changes.empty()) return result;
    for (const auto& [seed, first] : changes.front()) {
        if (!has_in_all(changes, seed)) continue;
        std::vector<double> values{0.0};
        for (const BySeed& change : changes) values.push_back(change.at(seed));
        result[seed] = least_squares_slope(alphas, values);
    }
    return result;
}

Estimate DoseResponse::slope() const {
    return estimate_of(slopes());
}

double DoseResponse::alpha_at_kl(double max_kl) const {
    double squares = 0.0;
    double cost = 0.0;
    for (const DosePoint& point : points) {
        if (!std::isfinite(point.kl_nats)) continue;
        squares += point.alpha * point.alpha;
        cost += point.kl_nats;
    }
    return cost > 0.0 ? std::sqrt(max_kl * squares / cost) : 0.0;
}

double DoseResponse::reach(double max_kl) const {
    const double change = std::abs(slope().value) * alpha_at_kl(max_kl);
    return std::isfinite(change) ? change : 0.0;
}

AlphaRange usable_range(const DoseResponse& response, double max_kl) {
    const double sign = response.slope().value < 0.0 ? -1.0 : 1.0;
    std::vector<const DosePoint*> above, below;
    for (const DosePoint& point : response.points) (point.alpha > 0.0 ? above : below).push_back(&point);
    const auto outwards = [](const DosePoint* a, const DosePoint* b) {
        return std::abs(a->alpha) < std::abs(b->alpha);
    };
    std::sort(above.begin(), above.end(), outwards);
    std::sort(below.begin(), below.end(), outwards);
    return {usable_end(below, max_kl, sign), usable_end(above, max_kl, sign)};
}

Verdict judge(const DoseResponse& vector, const std::vector<DoseResponse>& random) {
    Verdict verdict;
    const SharedSlopes slopes = shared_slopes(vector, random);
    if (slopes.vector.size() < 2 || random.empty()) {
        verdict.reason = "too few clips could be measured";
        return verdict;
    }
    verdict.slope = bootstrap_mean(slopes.vector);
    double steepest = 0.0;
    for (const std::vector<double>& of_draw : slopes.random) {
        verdict.random_slopes.push_back(mean(of_draw));
        steepest = std::max(steepest, std::abs(verdict.random_slopes.back()));
    }
    verdict.advantage = advantage_of(slopes);
    if (!verdict.slope.excludes_zero()) {
        verdict.reason = "the interval of its slope holds zero";
    } else if (std::abs(verdict.slope.value) <= steepest) {
        verdict.reason = "a random vector of the same norm moves the measure as much";
    } else if (!(verdict.advantage.low > 0.0)) {
        verdict.reason = "the interval of its advantage over random vectors holds zero";
    } else {
        verdict.steers = true;
        verdict.reason = "its slope is steeper than that of every random vector of the same norm";
    }
    return verdict;
}

}  // namespace musicsteer
