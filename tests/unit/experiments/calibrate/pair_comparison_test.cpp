#include "experiments/calibrate/pair_comparison.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "musicsteer/errors.hpp"

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

// scipy: the paired t interval of [1, 1.5, 0.5] / 20 dB, and of what is missing to -16 LUFS.
TEST(PairComparison, DecibelsAreComparedByTheirDifferences) {
    const std::vector<double> plain{-20.0, -19.0, -18.0}, steered{-19.0, -17.5, -17.5};
    const TargetOutcome outcome = compare_pairs(MeasureTarget::parse("loudness=-16"), plain, steered);
    EXPECT_NEAR(outcome.change.value, 0.05, 1e-12);
    EXPECT_NEAR(outcome.change.high - outcome.change.value, 4.302652729749464 * 0.5 / std::sqrt(3.0) / 20.0,
                1e-12);
    EXPECT_NEAR(outcome.gap.value, -0.1, 1e-12);
}

TargetOutcome seen(double change, double gap, double half_width) {
    TargetOutcome outcome;
    outcome.change = {change, change - half_width, change + half_width, 8};
    outcome.gap = {gap, gap - half_width, gap + half_width, 8};
    return outcome;
}

// -15 % were asked for, and the interval is [-46 %, +22 %]: that could be anything.
TEST(PairComparison, AnIntervalThatCouldBeAnythingMeetsNothing) {
    EXPECT_EQ(status_of(seen(-0.12, 0.03, 0.34), 0.05), TargetStatus::kUnsure);
    EXPECT_EQ(status_of(seen(-0.12, 0.03, 0.07), 0.05), TargetStatus::kMet);
    EXPECT_EQ(status_of(seen(-0.12, 0.03, 0.08), 0.05), TargetStatus::kUnsure) << "half of 15 % are 7.5";
    EXPECT_EQ(status_of(seen(-0.02, 0.0, 0.04), 0.05), TargetStatus::kMet)
        << "of a small change, the tolerance";
    EXPECT_EQ(status_of(seen(-0.06, 0.09, 0.34), 0.05), TargetStatus::kMissed);
    TargetOutcome none = seen(-0.15, 0.0, 0.0);
    none.gap.low = none.gap.high = std::nan("");
    EXPECT_EQ(status_of(none, 0.05), TargetStatus::kUnsure);
}

}  // namespace
}  // namespace musicsteer
