#include "base/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

const std::vector<double> kValues{3.1, -0.4, 2.2, 5.9, 1.0, 4.4, 0.3, 2.7};

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

// Fieller's interval holds the ratios that a t-test of numerators - ratio * denominators does not reject: at
// its ends that test is at its limit.
TEST(Statistics, TheRatiosIntervalIsThatOfTheTTest) {
    const std::vector<double> above{3.0, 5.5, 4.0, 3.0, 6.5}, below{2.0, 4.0, 3.5, 2.5, 4.5};
    const Estimate ratio = ratio_interval_t(above, below);
    EXPECT_DOUBLE_EQ(ratio.value, 22.0 / 16.5);
    EXPECT_EQ(ratio.units, 5U);
    const auto tested = [&](double at) {
        std::vector<double> rest = above;
        for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= at * below[i];
        return mean_interval_t(rest);
    };
    EXPECT_NEAR(tested(ratio.low).low, 0.0, 1e-12);
    EXPECT_NEAR(tested(ratio.high).high, 0.0, 1e-12);
    EXPECT_LT(ratio.low, ratio.value);
    EXPECT_GT(ratio.high, ratio.value);
}

TEST(Statistics, ARatioToWhatMayBeNothingHasNoInterval) {
    const std::vector<double> above{1.0, 1.0, 1.0, 1.0};
    const Estimate unsure = ratio_interval_t(above, std::vector<double>{0.0, 0.0, 0.0, 2.0});
    EXPECT_EQ(unsure.value, 2.0);
    EXPECT_FALSE(unsure.has_interval());
    EXPECT_FALSE(unsure.excludes_zero());
    EXPECT_TRUE(std::isnan(ratio_interval_t(above, std::vector<double>(4, 0.0)).value));
    const Estimate constant = ratio_interval_t(std::vector<double>{1.0, 3.0}, std::vector<double>{2.0, 2.0});
    EXPECT_NEAR(constant.high, 0.5 * mean_interval_t(std::vector<double>{1.0, 3.0}).high, 1e-12);
}

/// What share of intervals of so many values holds the true mean.
double coverage(std::size_t count, const std::function<double(std::mt19937_64&)>& draw, double truth) {
    constexpr int kSamples = 4000;
    std::mt19937_64 random(3);
    int covered = 0;
    for (int sample = 0; sample < kSamples; ++sample) {
        std::vector<double> values(count);
        for (double& value : values) value = draw(random);
        const Estimate estimate = mean_interval_t(values);
        covered += estimate.low <= truth && truth <= estimate.high ? 1 : 0;
    }
    return static_cast<double>(covered) / kSamples;
}

// docs/report.md has the table. The standard error of a share is 0.003.
TEST(Statistics, IntervalsCoverWhatTheyShould) {
    const auto normal = [](std::mt19937_64& random) { return std::normal_distribution<>()(random); };
    const auto lumpy = [](std::mt19937_64& random) {
        const double draw = std::uniform_real_distribution<>()(random);
        return (draw < 0.2 ? -1.0 : draw < 0.4 ? 1.0 : 0.0) + 0.1 * std::normal_distribution<>()(random);
    };
    const auto lognormal = [](std::mt19937_64& random) {
        return std::exp(0.5 * std::normal_distribution<>()(random));
    };
    for (const std::size_t count : {4, 8, 16}) {
        EXPECT_NEAR(coverage(count, normal, 0.0), 0.95, 0.012) << count;
        EXPECT_GE(coverage(count, lumpy, 0.0), 0.93) << count;
        EXPECT_GE(coverage(count, lognormal, std::exp(0.125)), 0.905) << count;
    }
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
    EXPECT_THROW(ratio_interval_t(two, one), UsageError);
}

}  // namespace
}  // namespace musicsteer
