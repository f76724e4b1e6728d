#include "experiments/calibrate/response_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

// An observation counts in full at its strengths and fades over this share of the range.
constexpr double kObservationReach = 0.1;
constexpr double kMinObservationWeight = 1e-6;
// Grid points for each vector, by the number of vectors. Each finer grid spans two steps to either side.
constexpr std::array<int, 4> kGridPoints = {201, 61, 25, 15};
constexpr int kGrids = 5;
constexpr double kWeakestFirst = 1e-7;
constexpr double kMaxKlRatio = 1e3;  // where clips failed and KL is infinite

struct Pool {
    double value;
    double weight;
    std::size_t count;
};

/// Pool adjacent violators: the increasing sequence nearest to the values.
std::vector<double> increasing_fit(std::span<const double> values, std::span<const double> weights) {
    std::vector<Pool> pools;
    for (std::size_t i = 0; i < values.size(); ++i) {
        pools.push_back({values[i], weights[i], 1});
        while (pools.size() > 1 && pools[pools.size() - 2].value > pools.back().value) {
            const Pool last = pools.back();
            pools.pop_back();
            Pool& before = pools.back();
            const double weight = before.weight + last.weight;
            before.value = (before.value * before.weight + last.value * last.weight) / weight;
            before.weight = weight;
            before.count += last.count;
        }
    }
    std::vector<double> fit;
    for (const Pool& pool : pools) fit.insert(fit.end(), pool.count, pool.value);
    return fit;
}

std::vector<double> negated(std::vector<double> values) {
    for (double& value : values) value = -value;
    return values;
}

double squared_error(std::span<const double> fit, std::span<const double> values,
                     std::span<const double> weights) {
    double sum = 0.0;
    for (std::size_t i = 0; i < fit.size(); ++i)
        sum += weights[i] * (fit[i] - values[i]) * (fit[i] - values[i]);
    return sum;
}

/// Calls `visit` with every point of the grid between `low` and `high`.
template <typename Visit>
void for_each_grid_point(std::span<const double> low, std::span<const double> high, int points,
                         const Visit& visit) {
    std::vector<int> index(low.size(), 0);
    std::vector<double> position(low.begin(), low.end());
    for (;;) {
        for (std::size_t j = 0; j < index.size(); ++j)
            position[j] = low[j] + (high[j] - low[j]) * index[j] / (points - 1);
        visit(position);
        std::size_t digit = 0;
        while (digit < index.size() && ++index[digit] == points) index[digit++] = 0;
        if (digit == index.size()) return;
    }
}

}  // namespace

double Curve::at(double position) const {
    if (position <= x.front()) return y.front();
    if (position >= x.back()) return y.back();
    const auto above = static_cast<std::size_t>(std::upper_bound(x.begin(), x.end(), position) - x.begin());
    const double share = (position - x[above - 1]) / (x[above] - x[above - 1]);
    return y[above - 1] + share * (y[above] - y[above - 1]);
}

Curve monotone_fit(const Curve& points, std::span<const double> weights) {
    const std::vector<double> rising = increasing_fit(points.y, weights);
    const std::vector<double> falling = negated(increasing_fit(negated(points.y), weights));
    const bool rises = squared_error(rising, points.y, weights) <= squared_error(falling, points.y, weights);
    return {points.x, rises ? rising : falling};
}

ResponseModel::ResponseModel(std::vector<std::vector<Curve>> effects, std::vector<Curve> kl)
    : effects_(std::move(effects)), root_kl_(std::move(kl)) {
    if (root_kl_.empty() || root_kl_.size() > kGridPoints.size())
        throw UsageError("from 1 to " + std::to_string(kGridPoints.size()) +
                         " vectors can be calibrated together, not " + std::to_string(root_kl_.size()));
    constexpr double kCertain = 1e6;  // the curve passes through zero: no steering, no change
    for (std::size_t i = 0; i < effects_.size(); ++i) {
        Curve& own = effects_[i].at(i);
        std::vector<double> weights;
        for (const double strength : own.x) weights.push_back(strength == 0.0 ? kCertain : 1.0);
        own = monotone_fit(own, weights);
    }
    for (Curve& curve : root_kl_) {
        for (double& value : curve.y) value = std::sqrt(std::max(0.0, value));
    }
}

std::vector<double> ResponseModel::weights_at(std::span<const double> strengths) const {
    std::vector<double> weights;
    double sum = 0.0;
    for (const Observation& observation : observations_) {
        double squared = 0.0;
        for (std::size_t j = 0; j < strengths.size(); ++j) {
            const double range = root_kl_[j].x.back() - root_kl_[j].x.front();
            const double distance = (strengths[j] - observation.strengths[j]) / (range * kObservationReach);
            squared += distance * distance;
        }
        weights.push_back((std::exp(-0.5 * squared) + kMinObservationWeight) * observation.weight);
        sum += weights.back();
    }
    for (double& weight : weights) weight /= sum;
    return weights;
}

std::vector<double> ResponseModel::predict(std::span<const double> strengths) const {
    const std::vector<double> weights = weights_at(strengths);
    std::vector<double> result;
    for (std::size_t i = 0; i < effects_.size(); ++i) {
        double sum = 0.0;
        for (std::size_t j = 0; j < strengths.size(); ++j) sum += effects_[i][j].at(strengths[j]);
        for (std::size_t k = 0; k < observations_.size(); ++k)
            sum += weights[k] * observations_[k].residuals[i];
        result.push_back(sum);
    }
    return result;
}

double ResponseModel::predict_kl(std::span<const double> strengths) const {
    const std::vector<double> weights = weights_at(strengths);
    double sum = 0.0;
    for (std::size_t j = 0; j < strengths.size(); ++j) {
        const double root = root_kl_[j].at(strengths[j]);
        sum += root * root;
    }
    double ratio = observations_.empty() ? 1.0 : 0.0;
    for (std::size_t k = 0; k < observations_.size(); ++k) ratio += weights[k] * observations_[k].kl_ratio;
    return sum * ratio;
}

void ResponseModel::update(std::span<const double> strengths, std::span<const double> effects, double kl,
                           double weight) {
    Observation observation;
    observation.weight = weight;
    observation.strengths.assign(strengths.begin(), strengths.end());
    const std::vector<Observation> earlier = std::move(observations_);
    observations_.clear();
    const std::vector<double> expected = predict(strengths);
    const double expected_kl = predict_kl(strengths);
    observations_ = earlier;
    for (std::size_t i = 0; i < effects.size(); ++i)
        observation.residuals.push_back(effects[i] - expected[i]);
    if (expected_kl > 0.0) observation.kl_ratio = std::min(kl / expected_kl, kMaxKlRatio);
    observations_.push_back(std::move(observation));
}

double ResponseModel::cost(std::span<const double> strengths, std::span<const double> targets,
                           double max_kl_nats) const {
    if (predict_kl(strengths) > max_kl_nats) return std::numeric_limits<double>::infinity();
    const std::vector<double> effects = predict(strengths);
    double sum = 0.0;
    for (std::size_t i = 0; i < effects.size(); ++i)
        sum += (effects[i] - targets[i]) * (effects[i] - targets[i]);
    for (std::size_t j = 0; j < strengths.size(); ++j) {
        const double share = strengths[j] / (root_kl_[j].x.back() - root_kl_[j].x.front());
        sum += kWeakestFirst * share * share;
    }
    return sum;
}

std::vector<double> ResponseModel::solve(std::span<const double> targets, double max_kl_nats) const {
    const int points = kGridPoints.at(vectors() - 1);
    std::vector<double> low, high;
    for (const Curve& curve : root_kl_) {
        low.push_back(curve.x.front());
        high.push_back(curve.x.back());
    }
    const std::vector<double> lowest = low, highest = high;
    std::vector<double> best(vectors(), 0.0);  // unsteered costs nothing and is always allowed
    double least = cost(best, targets, std::numeric_limits<double>::infinity());
    for (int grid = 0; grid < kGrids; ++grid) {
        for_each_grid_point(low, high, points, [&](const std::vector<double>& position) {
            const double found = cost(position, targets, max_kl_nats);
            if (found >= least) return;
            least = found;
            best = position;
        });
        for (std::size_t j = 0; j < best.size(); ++j) {
            const double reach = 2.0 * (high[j] - low[j]) / (points - 1);
            low[j] = std::max(lowest[j], best[j] - reach);
            high[j] = std::min(highest[j], best[j] + reach);
        }
    }
    return best;
}

}  // namespace musicsteer
