#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace musicsteer {

/// A figure with its 95 % interval.
struct Estimate {
    double value = std::numeric_limits<double>::quiet_NaN();  ///< NaN if it is undefined
    double low = std::numeric_limits<double>::quiet_NaN();    ///< NaN, as `high`, if there is no interval
    double high = std::numeric_limits<double>::quiet_NaN();
    std::size_t units = 0;  ///< independent observations

    /// False with fewer than two units, or if they do not determine one.
    bool has_interval() const { return std::isfinite(low) && std::isfinite(high); }
    /// True if the whole interval lies on one side of zero.
    bool excludes_zero() const { return low > 0.0 || high < 0.0; }
};

/// @throws UsageError if there are none
double mean(std::span<const double> values);

/// By linear interpolation between sorted values, as numpy.quantile. @param share  0 to 1
/// @throws UsageError if there are no values, or one of them is NaN
double quantile(std::span<const double> values, double share);

/// Which values are the larger half: those above the median, or if there are none, as in 1 2 2 2, those not
/// below it. Neither half is empty.
/// @throws UsageError if all values are the same, or there are none
std::vector<bool> larger_half(std::span<const double> values);

/// Slope of the least-squares line through (x, y).
/// @throws UsageError if sizes differ or x has fewer than two different values
double least_squares_slope(std::span<const double> x, std::span<const double> y);

/// a - b, item by item. @throws UsageError if sizes differ
std::vector<double> paired_differences(std::span<const double> a, std::span<const double> b);

/// The mean of each unit's values, units in increasing order. Clips with the same seed share their random
/// numbers and are not independent, so the unit is the seed, and its value the mean over prompts.
/// @param units  the unit of each value @throws UsageError if sizes differ
std::vector<double> unit_means(std::span<const double> values, std::span<const std::uint64_t> units);

/// The mean of independent values with Student's t interval, mean +- t s / sqrt(n) with n - 1 degrees of
/// freedom. For paired differences it is the interval of the paired t-test. docs/report.md says how often it
/// covers the truth, for few and for skewed values.
/// @throws UsageError if there are no values, one is not finite, or the confidence is not between 0 and 1
Estimate mean_interval_t(std::span<const double> values, double confidence = 0.95);

/// The ratio of two means over the same units, with Fieller's interval (Fieller 1954; Cochran, Sampling
/// Techniques, 6.7). Undefined if the denominators' mean is not above 0. Without an interval if that mean
/// cannot be told from 0, since no finite interval would be right.
/// @throws UsageError as mean_interval_t, or if sizes differ
Estimate ratio_interval_t(std::span<const double> numerators, std::span<const double> denominators,
                          double confidence = 0.95);

}  // namespace musicsteer
