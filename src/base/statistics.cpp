#include "base/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "base/student_t.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

void require_equal_sizes(std::size_t a, std::size_t b, const std::string& what) {
    if (a == b) return;
    throw UsageError(what + ": expected as many values on both sides, got " + std::to_string(a) + " and " +
                     std::to_string(b));
}

double mean_or_throw(std::span<const double> values, const std::string& what) {
    if (values.empty()) throw UsageError(what + ": there are no values");
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void validate_confidence(double confidence) {
    if (!(confidence > 0.0 && confidence < 1.0))
        throw UsageError("the confidence of an interval lies between 0 and 1");
}

void require_finite(std::span<const double> values) {
    if (!std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }))
        throw UsageError("mean: a value is not finite");
}

/// Covariance of the two means: sum of products of deviations / (n (n - 1)).
double covariance_of_means(std::span<const double> a, std::span<const double> b) {
    const double mean_a = mean(a), mean_b = mean(b);
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
    const auto count = static_cast<double>(a.size());
    return sum / (count * (count - 1.0));
}

double quantile_of_interval(std::size_t units, double confidence) {
    return student_t_quantile(0.5 + confidence / 2.0, static_cast<double>(units) - 1.0);
}

}  // namespace

double mean(std::span<const double> values) {
    return mean_or_throw(values, "mean");
}

double quantile(std::span<const double> values, double share) {
    if (values.empty()) throw UsageError("quantile: there are no values");
    if (!(share >= 0.0 && share <= 1.0)) throw UsageError("a quantile's share lies between 0 and 1");
    std::vector<double> sorted(values.begin(), values.end());
    // std::sort would leave them anywhere, and the others with them.
    if (std::any_of(sorted.begin(), sorted.end(), [](double value) { return std::isnan(value); }))
        throw UsageError("quantile: a value is not a number");
    std::sort(sorted.begin(), sorted.end());
    const double place = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return std::lerp(sorted[below], sorted[above], place - std::floor(place));
}

std::vector<bool> larger_half(std::span<const double> values) {
    const double median = quantile(values, 0.5);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    if (*least == *most) throw UsageError("all numbers are the same: there is no larger half");
    std::vector<bool> larger;
    for (const double value : values)
        larger.push_back(value > median || (*most == median && value == median));
    return larger;
}

double least_squares_slope(std::span<const double> x, std::span<const double> y) {
    require_equal_sizes(x.size(), y.size(), "slope");
    const double mean_x = mean_or_throw(x, "slope");
    const double mean_y = mean_or_throw(y, "slope");
    double covariance = 0.0;
    double variance = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        covariance += (x[i] - mean_x) * (y[i] - mean_y);
        variance += (x[i] - mean_x) * (x[i] - mean_x);
    }
    if (!(variance > 0.0)) throw UsageError("slope: there are fewer than two different places");
    return covariance / variance;
}

std::vector<double> paired_differences(std::span<const double> a, std::span<const double> b) {
    require_equal_sizes(a.size(), b.size(), "paired differences");
    std::vector<double> differences(a.size());
    std::transform(a.begin(), a.end(), b.begin(), differences.begin(), std::minus<>());
    return differences;
}

std::vector<double> unit_means(std::span<const double> values, std::span<const std::uint64_t> units) {
    require_equal_sizes(values.size(), units.size(), "means of units");
    std::map<std::uint64_t, std::vector<double>> by_unit;
    for (std::size_t i = 0; i < values.size(); ++i) by_unit[units[i]].push_back(values[i]);
    std::vector<double> means;
    for (const auto& [unit, of_unit] : by_unit) means.push_back(mean(of_unit));
    return means;
}

Estimate mean_interval_t(std::span<const double> values, double confidence) {
    validate_confidence(confidence);
    require_finite(values);
    Estimate estimate;
    estimate.value = mean(values);
    estimate.units = values.size();
    if (values.size() < 2) return estimate;
    const double half_width =
        quantile_of_interval(values.size(), confidence) * std::sqrt(covariance_of_means(values, values));
    estimate.low = estimate.value - half_width;
    estimate.high = estimate.value + half_width;
    return estimate;
}

Estimate ratio_interval_t(std::span<const double> numerators, std::span<const double> denominators,
                          double confidence) {
    validate_confidence(confidence);
    require_equal_sizes(numerators.size(), denominators.size(), "ratio");
    require_finite(numerators);
    require_finite(denominators);
    Estimate estimate;
    estimate.units = numerators.size();
    const double below = mean(denominators);
    if (!(below > 0.0)) return estimate;
    const double ratio = mean(numerators) / below;
    estimate.value = ratio;
    if (estimate.units < 2) return estimate;
    const double t = quantile_of_interval(estimate.units, confidence);
    const double var_above = covariance_of_means(numerators, numerators);
    const double var_below = covariance_of_means(denominators, denominators);
    const double covariance = covariance_of_means(numerators, denominators);
    const double g = t * t * var_below / (below * below);
    if (g >= 1.0) return estimate;
    const double slope = var_below > 0.0 ? covariance / var_below : 0.0;
    const double variance = var_above - 2.0 * ratio * covariance + ratio * ratio * var_below -
                            g * (var_above - slope * covariance);
    const double half_width = t / below * std::sqrt(std::max(0.0, variance));
    estimate.low = (ratio - g * slope - half_width) / (1.0 - g);
    estimate.high = (ratio - g * slope + half_width) / (1.0 - g);
    return estimate;
}

}  // namespace musicsteer
