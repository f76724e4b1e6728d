#include "experiments/study/study_decision.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace musicsteer {
namespace {

constexpr std::uint64_t kSeeds = 8;

/// A response whose seeds differ by `noise` on each seed's slope, and whose KL cost is `cost` alpha squared.
DoseResponse response(const std::function<double(double alpha)>& effect, double noise, double cost = 1.0) {
    DoseResponse result;
    for (const double alpha : {-2.0, -1.0, 1.0, 2.0}) {
        DosePoint point;
        point.alpha = alpha;
        point.kl_nats = cost * alpha * alpha;
        for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
            const double share = 2.0 * static_cast<double>(seed) / static_cast<double>(kSeeds - 1) - 1.0;
            point.change[seed] = effect(alpha) + noise * share * alpha;
        }
        result.points.push_back(point);
    }
    return result;
}

std::vector<DoseResponse> random_responses(double size) {
    std::vector<DoseResponse> random;
    for (const double share : {-1.0, -0.7, -0.4, -0.1, 0.2, 0.5, 0.8, 0.95})
        random.push_back(response([&](double alpha) { return size * share * alpha; }, 1.0));
    return random;
}

TEST(StudyDecision, ARealEffectSteers) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 2.0);
    const Verdict verdict = judge(vector, random_responses(2.0));
    EXPECT_TRUE(verdict.steers) << verdict.reason;
    EXPECT_NEAR(verdict.slope.value, 10.0, 1e-9);
    EXPECT_GT(verdict.advantage.low, 5.0);
    EXPECT_EQ(verdict.random_slopes.size(), 8U);
    EXPECT_NEAR(verdict.random_slopes.front(), -2.0, 1e-9);
}

TEST(StudyDecision, ANegativeSlopeSteersAsWell) {
    const DoseResponse vector = response([](double alpha) { return -10.0 * alpha; }, 2.0);
    EXPECT_TRUE(judge(vector, random_responses(2.0)).steers);
    const AlphaRange range = usable_range(vector, 9.0);
    EXPECT_EQ(range.low, -2.0);
    EXPECT_EQ(range.high, 2.0);
}

TEST(StudyDecision, NoEffectDoesNot) {
    const Verdict verdict = judge(response([](double) { return 0.0; }, 2.0), random_responses(0.0));
    EXPECT_FALSE(verdict.steers);
    EXPECT_NE(verdict.reason.find("slope holds zero"), std::string::npos);
}

TEST(StudyDecision, AnEffectNoLargerThanRandomDoesNot) {
    const DoseResponse vector = response([](double alpha) { return 1.8 * alpha; }, 0.1);
    const Verdict verdict = judge(vector, random_responses(2.0));
    EXPECT_TRUE(verdict.slope.excludes_zero());
    EXPECT_FALSE(verdict.steers);
    EXPECT_NE(verdict.reason.find("random vector"), std::string::npos);
}

TEST(StudyDecision, ANoisyLeadOverRandomDoesNot) {
    const DoseResponse vector = response([](double alpha) { return 2.1 * alpha; }, 2.5);
    std::vector<DoseResponse> random;
    for (int i = 0; i < 8; ++i) random.push_back(response([](double alpha) { return 2.0 * alpha; }, 1.0));
    const Verdict verdict = judge(vector, random);
    EXPECT_TRUE(verdict.slope.excludes_zero());
    EXPECT_FALSE(verdict.steers);
    EXPECT_NE(verdict.reason.find("advantage"), std::string::npos);
}

TEST(StudyDecision, TooLittleToJudgeDoesNot) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 2.0);
    EXPECT_FALSE(judge(vector, {}).steers);
    EXPECT_FALSE(judge(DoseResponse{}, random_responses(2.0)).steers);
}

TEST(StudyDecision, StrengthsBeyondTheCapAreLeftOut) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 0.0, 0.5);
    const AlphaRange range = usable_range(vector, 1.0);  // costs 0.5 and 2
    EXPECT_EQ(range.low, -1.0);
    EXPECT_EQ(range.high, 1.0);
    EXPECT_TRUE(usable_range(vector, 0.4).empty());
}

TEST(StudyDecision, TheRangeEndsWhereTheMeasureTurnsBack) {
    const DoseResponse vector = response([](double alpha) { return alpha > 1.5 ? 3.0 : 5.0 * alpha; }, 0.0);
    const AlphaRange range = usable_range(vector, 100.0);
    EXPECT_EQ(range.low, -2.0);
    EXPECT_EQ(range.high, 1.0);
}

TEST(StudyDecision, ANoisyStepBackDoesNotEndTheRange) {
    // Between 1 and 2 the mean falls, seeds differ by more than that; at 0.5 nothing can be said yet.
    DoseResponse vector = response([](double alpha) { return alpha; }, 0.0, 0.01);
    const auto set = [&](std::size_t point, double mean, double noise) {
        for (auto& [seed, change] : vector.points[point].change)
            change = mean + noise * (seed % 2 == 0 ? 1.0 : -1.0);
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

TEST(StudyDecision, AnEndThatCannotBeToldFromZeroIsNone) {
    const DoseResponse vector = response([](double alpha) { return 0.1 * alpha; }, 5.0);
    EXPECT_TRUE(usable_range(vector, 100.0).empty());
}

TEST(StudyDecision, AFailedStrengthEndsTheRange) {
    DoseResponse vector = response([](double alpha) { return alpha; }, 0.0);
    vector.points.back().change.clear();
    vector.points.back().kl_nats = std::numeric_limits<double>::infinity();
    const AlphaRange range = usable_range(vector, 100.0);
    EXPECT_EQ(range.low, -2.0);
    EXPECT_EQ(range.high, 1.0);
    EXPECT_NEAR(vector.slope().value, 1.0, 1e-12);
}

TEST(StudyDecision, ReachIsTheChangeAtTheCap) {
    const DoseResponse vector = response([](double alpha) { return 10.0 * alpha; }, 0.0, 0.25);
    EXPECT_NEAR(vector.alpha_at_kl(1.0), 2.0, 1e-12);
    EXPECT_NEAR(vector.reach(1.0), 20.0, 1e-9);
    EXPECT_EQ(DoseResponse{}.reach(1.0), 0.0);
}

}  // namespace
}  // namespace musicsteer
