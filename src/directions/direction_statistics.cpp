#include "directions/direction_statistics.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace musicsteer {
namespace {

/// Rows (or numbers) of one side without number i; all of them if the side has fewer.
at::Tensor without(const at::Tensor& rows, std::int64_t i) {
    if (!rows.defined() || i >= rows.size(0)) return rows;
    return at::cat({rows.narrow(0, 0, i), rows.narrow(0, i + 1, rows.size(0) - i - 1)});
}

TrainingSet without(const TrainingSet& set, std::int64_t i) {
    TrainingSet rest = set;
    for (at::Tensor TrainingSet::*part : {&TrainingSet::positive, &TrainingSet::negative,
                                          &TrainingSet::positive_values, &TrainingSet::negative_values})
        rest.*part = without(set.*part, i);
    return rest;
}

/// Mean silhouette of one group, times its size.
double silhouette_sum(const at::Tensor& group, const at::Tensor& other) {
    const auto size = static_cast<double>(group.size(0));
    if (size < 2.0) return 0.0;
    const at::Tensor within =
        (group.unsqueeze(1) - group.unsqueeze(0)).abs().sum(1) / (size - 1.0);  // its distance to itself is 0
    const at::Tensor between = (group.unsqueeze(1) - other.unsqueeze(0)).abs().mean(1);
    const at::Tensor larger = at::maximum(within, between);
    return at::where(larger > 0.0, (between - within) / larger, at::zeros_like(larger)).sum().item<double>();
}

/// None if one of the two has no spread.
std::optional<double> pearson(const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor x = a - a.mean(), y = b - b.mean();
    const double scale = (x.norm() * y.norm()).item<double>();
    if (!(scale > 0.0)) return std::nullopt;
    return x.dot(y).item<double>() / scale;
}

double right_side_share(const at::Tensor& positive, const at::Tensor& negative) {
    const at::Tensor signs = at::cat({positive.sign(), -negative.sign()});
    return ((signs + 1.0) / 2.0).mean().item<double>();  // a projection of exactly 0 counts half
}

}  // namespace

double cohens_d(const at::Tensor& positive, const at::Tensor& negative) {
    const auto n = static_cast<double>(positive.size(0));
    const auto m = static_cast<double>(negative.size(0));
    if (n + m <= 2.0) return 0.0;
    const auto sum_of_squares = [](const at::Tensor& x) {
        return (x - x.mean()).square().sum().item<double>();
    };
    const double deviation = std::sqrt((sum_of_squares(positive) + sum_of_squares(negative)) / (n + m - 2.0));
    const double difference = (positive.mean() - negative.mean()).item<double>();
    return deviation > 0.0 ? difference / deviation : 0.0;
}

double silhouette(const at::Tensor& positive, const at::Tensor& negative) {
    return (silhouette_sum(positive, negative) + silhouette_sum(negative, positive)) /
           static_cast<double>(positive.size(0) + negative.size(0));
}

std::optional<HeldOutStatistics> leave_one_out(const TrainingSet& set,
                                               const std::function<at::Tensor(const TrainingSet&)>& fit) {
    const std::int64_t n = set.positive.size(0), m = set.negative.size(0);
    if (n < 2 || m < 2) return std::nullopt;
    const at::Tensor positive = at::zeros({n}, at::kDouble), negative = at::zeros({m}, at::kDouble);
    for (std::int64_t i = 0; i < std::max(n, m); ++i) {
        const TrainingSet rest = without(set, i);
        const at::Tensor direction = fit(rest);
        const at::Tensor middle = (rest.positive.mean(0) + rest.negative.mean(0)) / 2.0;
        if (i < n) positive[i] = (set.positive[i] - middle).dot(direction);
        if (i < m) negative[i] = (set.negative[i] - middle).dot(direction);
    }
    HeldOutStatistics held_out;
    held_out.cohens_d = cohens_d(positive, negative);
    held_out.silhouette = silhouette(positive, negative);
    held_out.accuracy = right_side_share(positive, negative);
    if (set.has_values()) {
        held_out.r =
            pearson(at::cat({positive, negative}), at::cat({set.positive_values, set.negative_values}));
    }
    return held_out;
}

}  // namespace musicsteer
