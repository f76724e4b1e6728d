#include "experiments/study/dose_response.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace musicsteer {
namespace {

constexpr std::size_t kUnmeasuredIn = 10;
constexpr double kNextLimit = 16.0;

std::vector<double> cluster_means(const ByPair& values) {
    const bool over_prompts = cluster_unit(values) == ClusterUnit::kPrompts;
    std::vector<double> numbers;
    std::vector<std::uint64_t> units;
    for (const auto& [pair, value] : values) {
        numbers.push_back(value);
        units.push_back(over_prompts ? pair.prompt : pair.seed);
    }
    return unit_means(numbers, units);
}

/// Whether the step from `from` moves the measure back by more than its noise.
bool turns_back(const DosePoint& from, const DosePoint& to, double towards) {
    ByPair moved;
    for (const auto& [pair, change] : to.change)
        if (from.change.contains(pair)) moved[pair] = change - from.change.at(pair);
    if (moved.empty()) return true;
    const Estimate step = clustered_mean(moved);
    return towards > 0.0 ? step.high < 0.0 : step.low > 0.0;
}

/// The farthest usable point on one side of 0. @param outwards  their order @param sign  of the slope
double usable_end(const std::vector<const DosePoint*>& outwards, double max_kl_nats, double sign) {
    double end = 0.0;
    double moved = 0.0;
    const DosePoint* farthest = nullptr;  // that moved the measure
    for (const DosePoint* point : outwards) {
        const double towards = point->alpha > 0.0 ? sign : -sign;
        if (!point->is_usable() || !(point->kl_nats <= max_kl_nats)) break;
        if (farthest && turns_back(*farthest, *point, towards)) break;
        const Estimate change = point->mean();
        if (!change.excludes_zero() || !(towards * change.value > moved)) continue;
        moved = towards * change.value;
        end = point->alpha;
        farthest = point;
    }
    return end;
}

}  // namespace

ClusterUnit cluster_unit(const ByPair& values) {
    std::set<std::size_t> prompts;
    for (const auto& [pair, value] : values) prompts.insert(pair.prompt);
    return prompts.size() >= kMinPromptClusters ? ClusterUnit::kPrompts : ClusterUnit::kSeeds;
}

Estimate clustered_mean(const ByPair& values) {
    return values.empty() ? Estimate{} : mean_interval_t(cluster_means(values));
}

bool DosePoint::is_usable() const {
    return overflowed == 0 && !change.empty() && unmeasured * kUnmeasuredIn <= clips;
}

Estimate DosePoint::mean() const {
    return clustered_mean(change);
}

bool DoseResponse::is_usable() const {
    return !points.empty() && std::ranges::all_of(points, &DosePoint::is_usable);
}

ByPair DoseResponse::slopes() const {
    std::vector<const DosePoint*> usable;
    for (const DosePoint& point : points)
        if (point.is_usable()) usable.push_back(&point);
    ByPair result;
    if (usable.empty()) return result;
    for (const auto& [pair, first] : usable.front()->change) {
        std::vector<double> alphas{0.0}, changes{0.0};
        for (const DosePoint* point : usable) {
            const auto found = point->change.find(pair);
            if (found == point->change.end()) break;
            alphas.push_back(point->alpha);
            changes.push_back(found->second);
        }
        if (alphas.size() == usable.size() + 1) result[pair] = least_squares_slope(alphas, changes);
    }
    return result;
}

Estimate DoseResponse::slope() const {
    return clustered_mean(slopes());
}

double DoseResponse::alpha_at_kl(double max_kl_nats) const {
    double squares = 0.0;
    double cost = 0.0;
    for (const DosePoint& point : points) {
        if (!point.is_usable()) continue;
        squares += point.alpha * point.alpha;
        cost += point.kl_nats;
    }
    return cost > 0.0 ? std::sqrt(max_kl_nats * squares / cost) : 0.0;
}

double DoseResponse::next_alpha(double max_kl_nats) const {
    double tried = 0.0;
    for (const DosePoint& point : points) tried = std::max(tried, std::abs(point.alpha));
    const double found = alpha_at_kl(max_kl_nats);
    return found > 0.0 ? std::clamp(found, tried / kNextLimit, tried * kNextLimit) : tried;
}

DoseResponse DoseResponse::at(const std::vector<double>& alphas) const {
    DoseResponse result;
    for (const DosePoint& point : points)
        if (std::ranges::find(alphas, point.alpha) != alphas.end()) result.points.push_back(point);
    return result;
}

Estimate DoseResponse::effect(double max_kl_nats) const {
    if (!is_usable()) return {};
    ByPair effects = slopes();
    for (auto& [pair, effect] : effects) effect *= alpha_at_kl(max_kl_nats);
    return clustered_mean(effects);
}

double DoseResponse::pair_spread(double max_kl_nats) const {
    const ByPair of_pairs = slopes();
    if (of_pairs.size() < 2) return std::numeric_limits<double>::quiet_NaN();
    double sum = 0.0, squares = 0.0;
    for (const auto& [pair, slope] : of_pairs) sum += slope;
    const auto count = static_cast<double>(of_pairs.size());
    for (const auto& [pair, slope] : of_pairs) squares += std::pow(slope - sum / count, 2);
    return std::sqrt(squares / (count - 1.0)) * alpha_at_kl(max_kl_nats);
}

AlphaRange usable_range(const DoseResponse& response, double max_kl_nats) {
    const double sign = response.slope().value < 0.0 ? -1.0 : 1.0;
    std::vector<const DosePoint*> above, below;
    for (const DosePoint& point : response.points) (point.alpha > 0.0 ? above : below).push_back(&point);
    const auto outwards = [](const DosePoint* a, const DosePoint* b) {
        return std::abs(a->alpha) < std::abs(b->alpha);
    };
    std::sort(above.begin(), above.end(), outwards);
    std::sort(below.begin(), below.end(), outwards);
    return {usable_end(below, max_kl_nats, sign), usable_end(above, max_kl_nats, sign)};
}

}  // namespace musicsteer
