#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace musicsteer {

/// A figure with its 95 % interval.
struct Estimate {
    double value = std::numeric_limits<double>::quiet_NaN();  ///< NaN if it is undefined
    double low = std::numeric_limits<double>::quiet_NaN();    ///< NaN, as `high`, if there is no interval
    double high = std::numeric_limits<double>::quiet_NaN();
    std::size_t units = 0;  ///< the independent observations that it rests on

    /// False with fewer than two units, or where a bootstrap can't tell.
    bool has_interval() const { return std::isfinite(low) && std::isfinite(high); }
    /// True if the whole interval lies on one side of zero.
    bool excludes_zero() const { return low > 0.0 || high < 0.0; }
};

struct BootstrapOptions {
    std::int64_t resamples = 2000;
    std::uint64_t seed = 0;  ///< the same seed gives the same interval, on any machine
    double confidence = 0.95;
};

/// @throws UsageError if there are none
double mean(std::span<const double> values);

/// By linear interpolation between sorted values, as numpy.quantile. @param share  0 to 1
/// @throws UsageError if there are no values, or one of them is NaN
double quantile(std::span<const double> values, double share);

/// Which values are the larger half: those above the median; where that is none, as in 1 2 2 2, those that
/// are not below it. Both halves hold something.
/// @throws UsageError if all values are the same, or there are none
std::vector<bool> larger_half(std::span<const double> values);

/// Of the straight line through (x, y) that has the least squared error in y.
/// @throws UsageError if sizes differ or x has fewer than two different values
double least_squares_slope(std::span<const double> x, std::span<const double> y);

/// a - b, item by item. @throws UsageError if sizes differ
std::vector<double> paired_differences(std::span<const double> a, std::span<const double> b);

/// The mean of each unit's values, units in increasing order. Clips that share a seed share their random
/// numbers and are no independent observations, so the unit is the seed, and its value the mean over prompts.
/// @param units  the unit of each value @throws UsageError if sizes differ
std::vector<double> unit_means(std::span<const double> values, std::span<const std::uint64_t> units);

/// For each kind of unit, which units were drawn: as many as there are, some more than once.
using DrawnUnits = std::vector<std::vector<std::size_t>>;

/// Percentile bootstrap (Efron and Tibshirani 1993, chapter 13): the statistic of the units as they are, and
/// the quantiles of what it comes to when each kind's units are drawn with replacement, independently of the
/// other kinds.
///
/// A statistic may be undefined (not finite) on some resamples, as a ratio whose denominator is 0 there.
/// These are left out, unless they are more than would fit into one tail of the interval, 2.5 % at 95 %: its
/// ends could then lie anywhere, and there is no interval. Nor is there one if the statistic itself is
/// undefined.
/// @param unit_counts  how many units each kind has (seeds alone: one kind; seeds and directions: two)
/// @throws UsageError if a kind has no units, or the options make no sense
Estimate bootstrap(std::span<const std::size_t> unit_counts,
                   const std::function<double(const DrawnUnits&)>& statistic,
                   const BootstrapOptions& options = {});

/// The mean of independent values with its interval. The slope of a mean line is the mean of the units'
/// slopes, and a mean difference that of their differences, so both go through here.
Estimate bootstrap_mean(std::span<const double> unit_values, const BootstrapOptions& options = {});

/// The mean of independent values with Student's t interval, mean +- t s / sqrt(n) with n - 1 degrees of
/// freedom. Of few values a percentile bootstrap is too narrow (at 4 it covers 80 %); this one covers what it
/// says if they are about normal. Of paired differences it is the interval of the paired t-test.
/// @throws UsageError if there are no values, one is not finite, or the confidence is not between 0 and 1
Estimate mean_interval_t(std::span<const double> values, double confidence = 0.95);

}  // namespace musicsteer
