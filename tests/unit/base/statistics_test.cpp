#include "base/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

const std::vector<double> kValues{3.1, -0.4, 2.2, 5.9, 1.0, 4.4, 0.3, 2.7};

BootstrapOptions many_resamples(double confidence = 0.95) {
    BootstrapOptions options;
    options.resamples = 20'000;
    options.confidence = confidence;
    return options;
}

// Expected: numpy 2, np.mean and np.quantile of the same values.
TEST(Statistics, MeanAndQuantilesAreNumpys) {
    EXPECT_DOUBLE_EQ(mean(kValues), 2.4);
    EXPECT_DOUBLE_EQ(quantile(kValues, 0.025), -0.2775);
    EXPECT_DOUBLE_EQ(quantile(kValues, 0.1), 0.09);
    EXPECT_DOUBLE_EQ(quantile(kValues, 0.5), 2.45);
    EXPECT_DOUBLE_EQ(quantile(kValues, 0.975), 5.6375);
    EXPECT_EQ(quantile(kValues, 1.0), 5.9);
    EXPECT_EQ(quantile(std::vector<double>{7.0}, 0.3), 7.0);
}

// Expected: numpy 2, np.polyfit(x, y, 1).
TEST(Statistics, SlopeIsThatOfNumpysPolyfit) {
    const std::vector<double> x{-1.0, -0.5, 0.0, 0.5, 1.25}, y{410.0, 520.0, 700.0, 980.0, 1300.0};
    EXPECT_NEAR(least_squares_slope(x, y), 409.6721311475409, 1e-9);
}

TEST(Statistics, UnitsAreMeansInIncreasingOrder) {
    const std::vector<double> values{1.0, 10.0, 3.0, 20.0, 5.0};
    const std::vector<std::uint64_t> seeds{9, 2, 9, 2, 4};
    EXPECT_EQ(unit_means(values, seeds), (std::vector<double>{15.0, 5.0, 2.0}));
}

TEST(Statistics, DifferencesArePaired) {
    const std::vector<double> a{5.0, 1.0}, b{2.0, 4.0};
    EXPECT_EQ(paired_differences(a, b), (std::vector<double>{3.0, -3.0}));
}

// Expected: scipy 1, stats.bootstrap(method="percentile", n_resamples=200000). With 20,000 resamples the
// standard error of an end is about 0.013.
TEST(Statistics, IntervalOfAMeanIsScipys) {
    const Estimate estimate = bootstrap_mean(kValues, many_resamples());
    EXPECT_DOUBLE_EQ(estimate.value, 2.4);
    EXPECT_NEAR(estimate.low, 1.075, 0.05);
    EXPECT_NEAR(estimate.high, 3.7875, 0.05);
    EXPECT_EQ(estimate.units, 8U);
    EXPECT_TRUE(estimate.excludes_zero());
    const Estimate narrow = bootstrap_mean(kValues, many_resamples(0.8));
    EXPECT_NEAR(narrow.low, 1.5125, 0.05);
    EXPECT_NEAR(narrow.high, 3.3125, 0.05);
}

// Expected: 400,000 resamples in numpy, seeds and directions drawn independently.
TEST(Statistics, KindsOfUnitsAreDrawnIndependently) {
    const std::vector<double> slopes{0.5, -1.0, 0.2, 1.4};
    const std::vector<std::size_t> counts{kValues.size(), slopes.size()};
    const Estimate estimate = bootstrap(
        counts,
        [&](const DrawnUnits& drawn) {
            double value = 0.0;
            for (const std::size_t unit : drawn[0]) value += kValues[unit] / 8.0;
            for (const std::size_t unit : drawn[1]) value -= std::abs(slopes[unit]) / 4.0;
            return value;
        },
        many_resamples());
    EXPECT_NEAR(estimate.value, 1.625, 1e-12);
    EXPECT_NEAR(estimate.low, 0.225, 0.06);
    EXPECT_NEAR(estimate.high, 3.0875, 0.06);
    EXPECT_EQ(estimate.units, 8U);
}

TEST(Statistics, SeedDecidesTheInterval) {
    BootstrapOptions options;
    const Estimate first = bootstrap_mean(kValues, options);
    const Estimate again = bootstrap_mean(kValues, options);
    options.seed = 1;
    const Estimate other = bootstrap_mean(kValues, options);
    EXPECT_EQ(first.low, again.low);
    EXPECT_EQ(first.high, again.high);
    EXPECT_TRUE(first.low != other.low || first.high != other.high);
}

/// The mean of the drawn units' numbers 1, 2, ..., undefined if all of them are the same one.
double mean_of_various(const DrawnUnits& drawn) {
    double sum = 0.0;
    bool same = true;
    for (const std::size_t unit : drawn.front()) {
        sum += static_cast<double>(unit + 1);
        same = same && unit == drawn.front().front();
    }
    return same ? std::nan("") : sum / static_cast<double>(drawn.front().size());
}

// Four units draw 256 ways: 4 are undefined (1.6 %). Of the other 252 the means are 1.25 in 4 and 1.5 in 10,
// so that the 2.5 % end is 1.5; it would be 1.25 if undefined ones counted as the smallest.
TEST(Statistics, FewUndefinedResamplesAreLeftOut) {
    const std::size_t counts[] = {4};
    const Estimate estimate = bootstrap(counts, mean_of_various, many_resamples());
    EXPECT_EQ(estimate.value, 2.5);
    EXPECT_EQ(estimate.low, 1.5);
    EXPECT_EQ(estimate.high, 3.5);
    EXPECT_TRUE(estimate.has_interval());
}

// Three units draw 27 ways, of which 3 are undefined (11 %): more than a tail of 2.5 %, less than one of 20
// %.
TEST(Statistics, ManyUndefinedResamplesLeaveNoInterval) {
    const std::size_t counts[] = {3};
    const Estimate none = bootstrap(counts, mean_of_various, many_resamples());
    EXPECT_EQ(none.value, 2.0);
    EXPECT_TRUE(std::isnan(none.low) && std::isnan(none.high));
    EXPECT_FALSE(none.has_interval());
    EXPECT_FALSE(none.excludes_zero());
    EXPECT_EQ(none.units, 3U);
    EXPECT_TRUE(bootstrap(counts, mean_of_various, many_resamples(0.6)).has_interval());
}

TEST(Statistics, AnUndefinedStatisticHasNoInterval) {
    const std::size_t counts[] = {4};
    for (const double undefined : {std::nan(""), HUGE_VAL}) {
        bool first = true;
        const Estimate estimate = bootstrap(
            counts, [&](const DrawnUnits&) { return std::exchange(first, false) ? undefined : 1.0; });
        EXPECT_TRUE(std::isnan(estimate.value));
        EXPECT_FALSE(estimate.has_interval());
    }
}

// Expected: scipy 1.17.1, stats.ttest_1samp(values, 0).confidence_interval(confidence), and for the
// differences stats.ttest_rel([5.1, 6.3, 4.8, 7.0], [4.2, 6.1, 4.9, 5.5]).
TEST(Statistics, StudentsIntervalIsScipys) {
    const Estimate estimate = mean_interval_t(kValues);
    EXPECT_DOUBLE_EQ(estimate.value, 2.4);
    EXPECT_NEAR(estimate.low, 0.638394607913706, 1e-12);
    EXPECT_NEAR(estimate.high, 4.161605392086295, 1e-12);
    EXPECT_EQ(estimate.units, 8U);
    const Estimate narrow = mean_interval_t(kValues, 0.8);
    EXPECT_NEAR(narrow.low, 1.3459054145020681, 1e-12);
    EXPECT_NEAR(narrow.high, 3.4540945854979324, 1e-12);
    const std::vector<double> after{5.1, 6.3, 4.8, 7.0}, before{4.2, 6.1, 4.9, 5.5};
    const Estimate paired = mean_interval_t(paired_differences(after, before));
    EXPECT_NEAR(paired.low, -0.5178409426405524, 1e-12);
    EXPECT_NEAR(paired.high, 1.767840942640552, 1e-12);
    EXPECT_FALSE(paired.excludes_zero());
}

TEST(Statistics, StudentsIntervalOfNoSpreadIsAPointAndOfOneValueNone) {
    const Estimate same = mean_interval_t(std::vector<double>{3.0, 3.0, 3.0});
    EXPECT_EQ(same.low, 3.0);
    EXPECT_EQ(same.high, 3.0);
    const Estimate one = mean_interval_t(std::vector<double>{4.0});
    EXPECT_EQ(one.value, 4.0);
    EXPECT_FALSE(one.has_interval());
    EXPECT_THROW(mean_interval_t(std::vector<double>{}), UsageError);
    EXPECT_THROW(mean_interval_t(std::vector<double>{1.0, std::nan("")}), UsageError);
    EXPECT_THROW(mean_interval_t(kValues, 1.0), UsageError);
}

// Of 200 samples of 12 normal values around 0, about 90 % have 0 in their percentile interval (it is known
// to be somewhat short of 95 % for so few).
TEST(Statistics, IntervalsCoverWhatTheyShould) {
    std::uint64_t state = 1;
    const auto uniform = [&] {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (static_cast<double>(state >> 11) + 0.5) / 9007199254740992.0;
    };
    int covered = 0;
    for (int sample = 0; sample < 200; ++sample) {
        std::vector<double> values(12);
        for (double& value : values)
            value = std::sqrt(-2.0 * std::log(uniform())) * std::cos(2.0 * M_PI * uniform());
        covered += bootstrap_mean(values, {500}).excludes_zero() ? 0 : 1;
    }
    EXPECT_GE(covered, 168);
    EXPECT_LE(covered, 196);
}

TEST(Statistics, OneUnitHasNoInterval) {
    const Estimate estimate = bootstrap_mean(std::vector<double>{4.0});
    EXPECT_EQ(estimate.value, 4.0);
    EXPECT_TRUE(std::isnan(estimate.low));
    EXPECT_FALSE(estimate.excludes_zero());
}

TEST(Statistics, LargerHalf) {
    const auto half = [](const std::vector<double>& values) { return larger_half(values); };
    EXPECT_EQ(half({1, 4, 2, 3}), (std::vector<bool>{false, true, false, true}));
    EXPECT_EQ(half({5, 1, 3}), (std::vector<bool>{true, false, false}));
    EXPECT_EQ(half({1, 2, 2, 2}), (std::vector<bool>{false, true, true, true}));
    EXPECT_EQ(half({1, 1, 1, 2}), (std::vector<bool>{false, false, false, true}));
    EXPECT_THROW(half({1, 1}), UsageError);
    EXPECT_THROW(half({}), UsageError);
}

TEST(Statistics, RefusesWhatHasNoAnswer) {
    const std::vector<double> none, one{1.0}, two{1.0, 2.0}, same{3.0, 3.0};
    EXPECT_THROW(mean(none), UsageError);
    EXPECT_THROW(quantile(none, 0.5), UsageError);
    EXPECT_THROW(quantile(two, 1.5), UsageError);
    EXPECT_THROW(quantile(std::vector<double>{1.0, std::nan(""), 2.0}, 0.5), UsageError);
    EXPECT_THROW(least_squares_slope(two, one), UsageError);
    EXPECT_THROW(least_squares_slope(same, two), UsageError);
    EXPECT_THROW(paired_differences(two, one), UsageError);
    EXPECT_THROW(bootstrap_mean(none), UsageError);
    EXPECT_THROW(bootstrap_mean(two, {0}), UsageError);
}

}  // namespace
}  // namespace musicsteer
