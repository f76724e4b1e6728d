#include "experiments/study/study_decision.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/errors.hpp"
#include "unit/experiments/study/dose_responses.hpp"

namespace musicsteer {
namespace {

constexpr double kCap = 1.0;  // at which alpha is 1

std::vector<HeldOutResponse> random_responses(double size) {
    std::vector<HeldOutResponse> random;
    for (const double share : {1.0, 0.7, 0.4, -0.1, 0.5, 0.8})
        random.push_back({response([&](double alpha) { return size * share * alpha; }, 1.0), 1.0});
    return random;
}

Verdict judge_vector(double slope, double noise, double sign = 1.0, double random = 2.0) {
    return judge({response([&](double alpha) { return slope * alpha; }, noise), sign},
                 random_responses(random), kCap);
}

TEST(StudyDecision, ARealEffectSteers) {
    const Verdict verdict = judge_vector(10.0, 2.0);
    EXPECT_TRUE(verdict.steers());
    EXPECT_NEAR(verdict.effect.value, 10.0, 1e-9);
    ASSERT_EQ(verdict.controls.size(), 6U);
    EXPECT_NEAR(verdict.controls.front(), 2.0, 1e-9);
    // numpy and scipy: c.mean() + t.ppf(0.95, 5) * c.std(ddof=1) * sqrt(7 / 6), c = 2 [1, .7, .4, -.1, .5,
    // .8]
    EXPECT_NEAR(*verdict.bound, 2.7689662, 1e-6);
}

TEST(StudyDecision, ANegativeEffectSteersAsWell) {
    EXPECT_TRUE(judge_vector(-10.0, 2.0, -1.0).steers());
}

TEST(StudyDecision, TheDirectionIsTheOneThatWasChosen) {
    EXPECT_EQ(judge_vector(-10.0, 2.0, 1.0).reason, VerdictReason::kOtherWay);
}

TEST(StudyDecision, NoEffectDoesNot) {
    const Verdict verdict = judge_vector(0.0, 2.0, 1.0, 0.0);
    EXPECT_EQ(verdict.reason, VerdictReason::kHoldsZero);
    EXPECT_FALSE(verdict.more_clips);
}

TEST(StudyDecision, AnEffectNoLargerThanRandomDoesNot) {
    const Verdict verdict = judge_vector(2.5, 0.1);
    EXPECT_TRUE(verdict.effect.excludes_zero());
    EXPECT_EQ(verdict.reason, VerdictReason::kLikeRandom);
    EXPECT_FALSE(verdict.more_clips) << "the random vectors' spread is no noise";
}

// Random vectors do nothing but are noisy: a spread of exactly 0 between them is luck.
TEST(StudyDecision, TheSpreadOfRandomVectorsIsAtLeastTheirNoise) {
    const Verdict verdict = judge_vector(1.0, 0.5, 1.0, 0.0);
    EXPECT_GT(*verdict.bound, 0.5);
}

TEST(StudyDecision, SaysHowManyMoreClipsWouldDecide) {
    const Verdict verdict = judge_vector(0.5, 2.0, 1.0, 0.0);
    EXPECT_FALSE(verdict.steers());
    ASSERT_TRUE(verdict.more_clips);
    EXPECT_GT(*verdict.more_clips, 2.0);
    EXPECT_GT(*verdict.detectable, *verdict.bound);
}

TEST(StudyDecision, FailedClipsAreNotJudged) {
    HeldOutResponse failed{response([](double alpha) { return 10.0 * alpha; }, 2.0), 1.0};
    failed.response.points.back().overflowed = 1;
    EXPECT_EQ(judge(failed, random_responses(2.0), kCap).reason, VerdictReason::kFailedClips);
    EXPECT_EQ(judge({}, random_responses(2.0), kCap).reason, VerdictReason::kFailedClips);

    std::vector<HeldOutResponse> random = random_responses(2.0);
    const HeldOutResponse vector{response([](double alpha) { return 10.0 * alpha; }, 2.0), 1.0};
    random[0] = random[1] = failed;
    Verdict verdict = judge(vector, random, kCap);
    EXPECT_TRUE(verdict.steers());
    EXPECT_EQ(verdict.controls_left_out, 2U);
    random[2] = failed;
    EXPECT_EQ(judge(vector, random, kCap).reason, VerdictReason::kFewControls);
}

TEST(StudyDecision, TheWayWithTheLargestEffectIsChosen) {
    std::vector<DoseResponse> ways;
    for (const double slope : {1.0, -3.0, 2.0})
        ways.push_back(response([&](double alpha) { return slope * alpha; }, 1.0, 0.25));
    WayChoice choice = choose_way(ways, kCap);
    EXPECT_EQ(choice.way, 1U);
    EXPECT_EQ(choice.sign, -1.0);
    EXPECT_NEAR(choice.alpha, 2.0, 1e-12);
    ways[1].points.front().overflowed = 1;
    EXPECT_EQ(choose_way(ways, kCap).way, 2U);
    EXPECT_THROW(choose_way({}, kCap), UsageError);
}

TEST(StudyDecision, WhatCanBeFoundFallsWithTheRootOfPairs) {
    // scipy: (t.ppf(0.95, 5) * sqrt(7 / 6) + norm.ppf(0.8)) / 4
    EXPECT_NEAR(detectable_spread(16, 6), 0.7545306, 1e-5);
    EXPECT_NEAR(detectable_spread(64, 6), 0.5 * detectable_spread(16, 6), 1e-12);
}

}  // namespace
}  // namespace musicsteer
