#include "experiments/calibrate/pair_comparison.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

TEST(PairComparison, ChangesAreSharesOfTheUnsteeredMean) {
    const std::vector<double> plain{2.0, 4.0, 3.0, 3.0}, steered{3.0, 5.0, 4.0, 3.0};
    const TargetOutcome outcome = compare_pairs(MeasureTarget::parse("onsets=+20%"), plain, steered);
    EXPECT_DOUBLE_EQ(outcome.change.value, 0.25);
    EXPECT_NEAR(outcome.gap.value, 0.05, 1e-15);
    EXPECT_TRUE(outcome.change.has_interval());
    EXPECT_DOUBLE_EQ(gap_noise({&outcome, 1}), 0.5 * (outcome.gap.high - outcome.gap.low));
}

// One unsteered clip in four has onsets: percent of what may be nothing have no interval.
TEST(PairComparison, AScaleThatMayBeNothingLeavesNoInterval) {
    const std::vector<double> plain{0.0, 0.0, 0.0, 2.0}, steered{1.0, 1.0, 1.0, 1.0};
    const TargetOutcome outcome = compare_pairs(MeasureTarget::parse("onsets=+20%"), plain, steered);
    EXPECT_DOUBLE_EQ(outcome.change.value, 1.0);
    EXPECT_FALSE(outcome.change.has_interval());
    EXPECT_TRUE(outcome.value.has_interval());
    EXPECT_EQ(gap_noise({&outcome, 1}), INFINITY) << "not known is not none";
}

TEST(PairComparison, PercentOfNothingAreRefused) {
    const std::vector<double> plain(4, 0.0), steered(4, 1.0);
    EXPECT_THROW(compare_pairs(MeasureTarget::parse("onsets=+20%"), plain, steered), InputError);
    EXPECT_NO_THROW(compare_pairs(MeasureTarget::parse("onsets=2"), plain, steered));
}

}  // namespace
}  // namespace musicsteer
