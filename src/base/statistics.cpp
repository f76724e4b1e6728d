#include "base/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <string>

#include "base/errors.hpp"
#include "base/student_t.hpp"

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

void validate(const BootstrapOptions& options) {
    if (options.resamples < 1) throw UsageError("a bootstrap needs at least 1 resample");
    validate_confidence(options.confidence);
}

/// std::uniform_int_distribution draws differently from library to library; the remainder is off by 1 in 2^60
/// at worst.
std::size_t draw_below(std::size_t count, std::mt19937_64& random) {
    return static_cast<std::size_t>(random() % count);
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

Estimate bootstrap(std::span<const std::size_t> unit_counts,
                   const std::function<double(const DrawnUnits&)>& statistic,
                   const BootstrapOptions& options) {
    validate(options);
    DrawnUnits drawn;
    for (const std::size_t count : unit_counts) {
        if (count == 0) throw UsageError("bootstrap: there are no units");
        drawn.emplace_back(count);
        std::iota(drawn.back().begin(), drawn.back().end(), std::size_t{0});
    }
    if (drawn.empty()) throw UsageError("bootstrap: there are no units");
    Estimate estimate;
    const double value = statistic(drawn);
    estimate.units = unit_counts.front();
    if (!std::isfinite(value)) return estimate;
    estimate.value = value;
    if (estimate.units < 2) return estimate;
    std::mt19937_64 random(options.seed);
    std::vector<double> resampled;
    for (std::int64_t i = 0; i < options.resamples; ++i) {
        for (std::vector<std::size_t>& kind : drawn)
            for (std::size_t& unit : kind) unit = draw_below(kind.size(), random);
        const double of_drawn = statistic(drawn);
        if (std::isfinite(of_drawn)) resampled.push_back(of_drawn);
    }
    const double tail = (1.0 - options.confidence) / 2.0;
    const auto undefined = static_cast<double>(options.resamples) - static_cast<double>(resampled.size());
    if (undefined > tail * static_cast<double>(options.resamples)) return estimate;
    estimate.low = quantile(resampled, tail);
    estimate.high = quantile(resampled, 1.0 - tail);
    return estimate;
}

Estimate bootstrap_mean(std::span<const double> unit_values, const BootstrapOptions& options) {
    const std::size_t counts[] = {unit_values.size()};
    return bootstrap(
        counts,
        [&](const DrawnUnits& drawn) {
            double sum = 0.0;
            for (const std::size_t unit : drawn.front()) sum += unit_values[unit];
            return sum / static_cast<double>(unit_values.size());
        },
        options);
}

Estimate mean_interval_t(std::span<const double> values, double confidence) {
    validate_confidence(confidence);
    if (!std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }))
        throw UsageError("mean: a value is not finite");
    Estimate estimate;
    estimate.value = mean(values);
    estimate.units = values.size();
    if (values.size() < 2) return estimate;
    const double freedom = static_cast<double>(values.size()) - 1.0;
    double squares = 0.0;
    for (const double value : values) squares += (value - estimate.value) * (value - estimate.value);
    const double standard_error = std::sqrt(squares / freedom / static_cast<double>(values.size()));
    const double half_width = student_t_quantile(0.5 + confidence / 2.0, freedom) * standard_error;
    estimate.low = estimate.value - half_width;
    estimate.high = estimate.value + half_width;
    return estimate;
}

}  // namespace musicsteer
