#include "experiments/study/dose_response.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "unit/experiments/study/dose_responses.hpp"

namespace musicsteer {
namespace {

// Expected: scipy.stats.t.interval(0.95, n - 1, mean, sem) over the means of the clusters.
TEST(DoseResponse, FewPromptsAreClusteredBySeedManyByPrompt) {
    ByPair values;
    for (std::size_t prompt = 0; prompt < 3; ++prompt)
        for (std::uint64_t seed = 0; seed < 4; ++seed)
            values[{prompt, seed}] = static_cast<double>(10 * prompt + seed);
    EXPECT_EQ(cluster_unit(values), ClusterUnit::kSeeds);
    Estimate estimate = clustered_mean(values);
    EXPECT_NEAR(estimate.low, 9.4457397432, 1e-9);  // of 10, 11, 12, 13
    EXPECT_EQ(estimate.units, 4U);
    for (std::uint64_t seed = 0; seed < 4; ++seed) values[{3, seed}] = 30.0 + static_cast<double>(seed);
    EXPECT_EQ(cluster_unit(values), ClusterUnit::kPrompts);
    estimate = clustered_mean(values);
    EXPECT_NEAR(estimate.value, 16.5, 1e-12);
    EXPECT_NEAR(estimate.low, -4.0426025681, 1e-9);  // of 1.5, 11.5, 21.5, 31.5
}

TEST(DoseResponse, TheEffectIsTheChangeAtTheCap) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 0.0, 0.25);
    EXPECT_NEAR(vector.alpha_at_kl(1.0), 2.0, 1e-12);
    EXPECT_NEAR(vector.effect(1.0).value, 20.0, 1e-9);
    EXPECT_FALSE(DoseResponse{}.effect(1.0).has_interval());
    EXPECT_NEAR(response([](double) { return 0.0; }, 1.0, 0.25).pair_spread(1.0), 2.0 * 0.6998542122, 1e-9);
}

TEST(DoseResponse, TheNextAlphaStaysNearWhatWasTried) {
    EXPECT_NEAR(response([](double alpha) { return alpha; }, 0.0, 1e-9).next_alpha(1.0), 32.0, 1e-12);
    EXPECT_NEAR(response([](double alpha) { return alpha; }, 0.0, 0.0).next_alpha(1.0), 2.0, 1e-12);
}

TEST(DoseResponse, StrengthsBeyondTheCapAreLeftOut) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 0.0, 0.5);
    const AlphaRange range = usable_range(vector, 1.0);  // costs 0.5 and 2
    EXPECT_EQ(range.low, -1.0);
    EXPECT_EQ(range.high, 1.0);
    EXPECT_TRUE(usable_range(vector, 0.4).empty());
}

TEST(DoseResponse, TheRangeEndsWhereTheMeasureTurnsBack) {
    const DoseResponse vector = response([](double alpha) { return alpha > 1.5 ? 3.0 : 5.0 * alpha; }, 0.0);
    const AlphaRange range = usable_range(vector, 100.0);
    EXPECT_EQ(range.low, -2.0);
    EXPECT_EQ(range.high, 1.0);
}

TEST(DoseResponse, ANoisyStepBackDoesNotEndTheRange) {
    // Between 1 and 2 the mean falls, seeds differ by more than that; at 0.5 nothing can be said yet.
    DoseResponse vector = response([](double alpha) { return alpha; }, 0.0, 0.01);
    const auto set = [&](std::size_t point, double mean, double noise) {
        for (auto& [pair, change] : vector.points[point].change)
            change = mean + noise * (pair.seed % 2 == 0 ? 1.0 : -1.0);
    };
    set(2, 1.0, 1.5);
    set(3, 4.0, 0.5);
    vector.points.push_back(vector.points.back());
    vector.points.back().alpha = 3.0;
    set(4, 3.9, 1.0);
    vector.points.push_back(vector.points.back());
    vector.points.back().alpha = 4.0;
    set(5, 6.0, 1.0);
    EXPECT_EQ(usable_range(vector, 100.0).high, 4.0);
    set(4, 1.0, 0.5);
    EXPECT_EQ(usable_range(vector, 100.0).high, 2.0);
}

TEST(DoseResponse, AnEndThatCannotBeToldFromZeroIsNone) {
    const DoseResponse vector = response([](double alpha) { return 0.1 * alpha; }, 5.0);
    EXPECT_TRUE(usable_range(vector, 100.0).empty());
}

// Of eight clips at alpha 2, one overflowed. The seven that are left say nothing about that strength.
TEST(DoseResponse, SurvivorsOfAnOverflowAreNotJudged) {
    DoseResponse vector = response([](double alpha) { return alpha; }, 0.1, 0.01);
    DosePoint& last = vector.points.back();
    last.change.erase(last.change.begin());
    last.overflowed = 1;
    EXPECT_FALSE(last.is_usable());
    EXPECT_EQ(usable_range(vector, 100.0).high, 1.0);
    EXPECT_EQ(usable_range(vector, 100.0).low, -2.0);
    EXPECT_FALSE(vector.effect(1.0).has_interval());
    EXPECT_NEAR(vector.slope().value, 1.0, 1e-9) << "of the other strengths";
}

TEST(DoseResponse, OneInTenClipsMayLackAValue) {
    DosePoint point;
    point.clips = 10;
    point.change[{0, 0}] = 1.0;
    point.unmeasured = 1;
    EXPECT_TRUE(point.is_usable());
    point.unmeasured = 2;
    EXPECT_FALSE(point.is_usable());
}

}  // namespace
}  // namespace musicsteer
