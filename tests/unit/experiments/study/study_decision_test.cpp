#include "experiments/study/study_decision.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "musicsteer/errors.hpp"
#include "unit/experiments/study/dose_responses.hpp"

namespace musicsteer {
namespace {

constexpr double kStudyCap = 1.0;  // at which alpha is 1

HeldOutResponse held_out(double slope, double noise, double sign = 1.0) {
    return {response([=](double alpha) { return slope * alpha; }, noise), 1.0, {0, 1.0, sign, 1.0}};
}

std::vector<HeldOutResponse> random_responses(double size) {
    std::vector<HeldOutResponse> random;
    for (const double share : {1.0, 0.7, 0.4, -0.1, 0.5, 0.8}) random.push_back(held_out(size * share, 1.0));
    return random;
}

Verdict judge_vector(double slope, double noise, double sign = 1.0, double random = 2.0) {
    return judge(held_out(slope, noise, sign), random_responses(random));
}

TEST(StudyDecision, ARealEffectSteers) {
    const Verdict verdict = judge_vector(10.0, 2.0);
    EXPECT_TRUE(verdict.steers());
    EXPECT_NEAR(verdict.effect.value, 10.0, 1e-9);
    ASSERT_EQ(verdict.controls.size(), 6U);
    EXPECT_NEAR(verdict.controls.front(), 2.0, 1e-9);
    // numpy and scipy: y = arcsinh(2 [1, .7, .4, -.1, .5, .8]);
    // sinh(y.mean() + t.ppf(0.95, 5) * y.std(ddof=1) * sqrt(7 / 6))
    EXPECT_NEAR(*verdict.bound, 4.214544, 1e-5);
}

// Half as strong a push in the way that was chosen, where vectors usually do three times as much.
TEST(StudyDecision, VectorsAreComparedAtTheSamePushByWhatIsUsual) {
    HeldOutResponse vector = held_out(10.0, 2.0);
    vector.choice.alpha = 0.5;
    std::vector<HeldOutResponse> random = random_responses(2.0);
    for (HeldOutResponse& control : random) {
        control.push = 2.0;
        control.choice.usual = 3.0;
    }
    const Verdict verdict = judge(vector, random);
    EXPECT_NEAR(verdict.effect.value, 5.0, 1e-9);
    EXPECT_NEAR(verdict.controls.front(), 2.0 / 2.0 / 3.0 * 0.5, 1e-9);
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

TEST(StudyDecision, SaysHowManyMoreClipsWouldDecide) {
    const Verdict verdict = judge_vector(0.5, 2.0, 1.0, 0.0);
    EXPECT_FALSE(verdict.steers());
    ASSERT_TRUE(verdict.more_clips);
    EXPECT_GT(*verdict.more_clips, 2.0);
    EXPECT_GT(*verdict.detectable, *verdict.bound);
}

TEST(StudyDecision, FailedClipsAreNotJudged) {
    HeldOutResponse failed = held_out(10.0, 2.0);
    failed.response.points.back().overflowed = 1;
    EXPECT_EQ(judge(failed, random_responses(2.0)).reason, VerdictReason::kFailedClips);
    EXPECT_EQ(judge({}, random_responses(2.0)).reason, VerdictReason::kFailedClips);

    std::vector<HeldOutResponse> random = random_responses(2.0);
    const HeldOutResponse vector = held_out(20.0, 2.0);
    random[0] = random[1] = failed;
    EXPECT_EQ(judge(vector, random).controls_left_out, 2U);
    EXPECT_TRUE(judge(vector, random).bound);
    random[2] = failed;
    EXPECT_EQ(judge(vector, random).reason, VerdictReason::kFewControls);
}

WayResponse way(double slope, double push = 1.0) {
    return {response([=](double alpha) { return slope * alpha; }, 0.01, 0.25), push};
}

TEST(StudyDecision, TheWayInWhichAVectorStandsOutIsChosen) {
    // In the first way every vector does much; in the second the first one does four times what others do.
    std::vector<std::vector<WayResponse>> vectors{
        {way(5.0), way(-2.0)}, {way(4.0), way(0.5)}, {way(-6.0), way(0.5)}};
    std::vector<WayChoice> choices = choose_ways(vectors, kStudyCap);
    EXPECT_EQ(choices[0].way, 1U);
    EXPECT_EQ(choices[0].sign, -1.0);
    EXPECT_NEAR(choices[0].alpha, 2.0, 1e-12) << "where the cost comes to the cap";
    EXPECT_NEAR(choices[0].usual, 0.5, 1e-9);
    EXPECT_EQ(choices[2].way, 0U);
    EXPECT_NEAR(choices[2].usual, std::sqrt((25.0 + 16.0) / 2.0), 1e-9);

    vectors[0][1].response.points.front().overflowed = 1;
    EXPECT_EQ(choose_ways(vectors, kStudyCap)[0].way, 0U);
    EXPECT_THROW(choose_ways({}, kStudyCap), UsageError);
    EXPECT_THROW(choose_ways({{}, {}}, kStudyCap), UsageError);
}

TEST(StudyDecision, WhatCanBeFoundFallsWithTheRootOfPairs) {
    // scipy: (t.ppf(0.975, 3) + t.ppf(0.8, 3)) / 4, and (t.ppf(0.95, 5) * sqrt(7 / 6) + t.ppf(0.8, 15)) / 4
    EXPECT_NEAR(detectable_spread(16, 4, 6), 1.040230, 1e-5);
    EXPECT_NEAR(detectable_spread(16, 16, 6), 0.760686, 1e-5);
    EXPECT_NEAR(detectable_spread(64, 4, 6), 0.5 * detectable_spread(16, 4, 6), 1e-12);
}

}  // namespace
}  // namespace musicsteer
