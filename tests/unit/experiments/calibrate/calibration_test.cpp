#include "experiments/calibrate/calibration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::ThrowsMessage;
using Strengths = std::vector<double>;
using Effects = std::function<std::vector<double>(const Strengths&)>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The same number for the same keys, uniform with standard deviation 1.
double noise(std::uint64_t a, std::uint64_t b) {
    std::uint64_t state = a * 0x9E3779B97F4A7C15U + b * 0xC2B2AE3D27D4EB4FU + 1;
    for (int i = 0; i < 3; ++i) {
        state ^= state >> 30;
        state *= 0xBF58476D1CE4E5B9U;
        state ^= state >> 27;
    }
    return (static_cast<double>(state >> 11) / 4503599627370496.0 - 1.0) * std::sqrt(3.0);
}

/// A model whose effects are known: measures of a clip are 100 times (1 + effect), with noise of its own for
/// each clip and noise that the clips of a pair share.
struct FakeModel {
    Effects effects;
    std::function<double(const Strengths&)> kl = [](const Strengths& strengths) {
        double sum = 0.0;
        for (const double strength : strengths) sum += strength * strength;
        return sum;
    };
    double clip_noise = 0.05;  // 48 pairs are enough
    double pair_noise = 0.15;
    std::function<bool(std::size_t pair)> is_undefined = [](std::size_t) { return false; };
    mutable std::size_t clips = 0;

    std::vector<Observation> observe(const std::vector<Strengths>& conditions, PairRange pairs) const {
        std::vector<Observation> seen;
        for (const Strengths& strengths : conditions) {
            std::uint64_t key = 1;
            for (const double strength : strengths) key = key * 31 + std::bit_cast<std::uint64_t>(strength);
            const std::vector<double> effect = effects(strengths);
            Observation& observation = seen.emplace_back();
            observation.values.resize(effect.size());
            for (std::size_t pair = pairs.first; pair < pairs.first + pairs.count; ++pair) {
                ++clips;
                observation.kl.push_back(kl(strengths) * (1.0 + 0.1 * noise(pair, 7)));
                for (std::size_t i = 0; i < effect.size(); ++i) {
                    const double luck = 1.0 + pair_noise * noise(pair, i) + clip_noise * noise(pair, key + i);
                    observation.values[i].push_back(is_undefined(pair) ? kNan
                                                                       : 100.0 * (1.0 + effect[i]) * luck);
                }
            }
        }
        return seen;
    }

    Calibration calibrate(const std::vector<std::string>& targets,
                          const CalibrationOptions& options = {}) const {
        std::vector<MeasureTarget> parsed;
        for (const std::string& text : targets) parsed.push_back(MeasureTarget::parse(text));
        return musicsteer::calibrate(parsed, options, [this](const auto& conditions, PairRange pairs) {
            return observe(conditions, pairs);
        });
    }
};

/// The targets are met, on the held-out pairs and in truth.
void expect_met(const FakeModel& model, const Calibration& found, const std::vector<double>& changes) {
    EXPECT_TRUE(found.reachable);
    EXPECT_TRUE(found.met);
    ASSERT_EQ(found.checked.outcomes.size(), changes.size());
    const std::vector<double> truth = model.effects(found.strengths);
    for (std::size_t i = 0; i < changes.size(); ++i) {
        EXPECT_NEAR(truth[i], changes[i], 0.05);
        EXPECT_NEAR(found.checked.outcomes[i].change.value, changes[i], 0.05);
        EXPECT_LT(found.checked.outcomes[i].change.low, truth[i]);
        EXPECT_GT(found.checked.outcomes[i].change.high, truth[i]);
    }
}

TEST(Calibration, MeetsATargetEitherWay) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.6 * std::tanh(1.5 * x[0])}; }};
    expect_met(model, model.calibrate({"tempo=+15%"}), {0.15});
    expect_met(model, model.calibrate({"tempo=-15%"}), {-0.15});
    expect_met(model, model.calibrate({"tempo=+30%"}), {0.30});
}

TEST(Calibration, MeetsAValue) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.6 * x[0]}; }};
    const Calibration found = model.calibrate({"tempo=120"});
    expect_met(model, found, {0.2});
    EXPECT_NEAR(found.checked.outcomes[0].value.value, 120.0, 6.0);
    EXPECT_DOUBLE_EQ(found.checked.outcomes[0].wanted, 120.0);
}

TEST(Calibration, FindsOutWhichSignRaisesTheMeasure) {
    const FakeModel model{[](const Strengths& x) { return Strengths{-0.5 * x[0]}; }};
    const Calibration found = model.calibrate({"tempo=+15%"});
    expect_met(model, found, {0.15});
    EXPECT_LT(found.strengths[0], 0.0);
}

TEST(Calibration, FindsTheScaleOfStrength) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.0005 * x[0]}; },
                          [](const Strengths& x) { return 1e-6 * x[0] * x[0]; }};
    expect_met(model, model.calibrate({"tempo=+15%"}), {0.15});
}

TEST(Calibration, HoldsWhereTheResponseTurnsBack) {
    const FakeModel model{[](const Strengths& x) { return Strengths{x[0] * (1.0 - 1.6 * std::abs(x[0]))}; }};
    // The top is 15.6 % at 0.31; at the edge, 0.7, it is below 0.
    expect_met(model, model.calibrate({"tempo=+12%"}), {0.12});
}

TEST(Calibration, MeetsTwoTargetsThatLeakIntoEachOther) {
    const FakeModel model{[](const Strengths& x) {
        return Strengths{0.5 * x[0] + 0.25 * x[1], 0.3 * x[0] - 0.6 * x[1]};
    }};
    expect_met(model, model.calibrate({"tempo=+15%", "centroid=-20%"}), {0.15, -0.20});
    expect_met(model, model.calibrate({"tempo=-10%", "centroid=-10%"}), {-0.10, -0.10});
}

TEST(Calibration, SaysWhatIsOutOfReach) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.1 * std::tanh(6.0 * x[0])}; }};
    const Calibration found = model.calibrate({"tempo=+30%"});
    EXPECT_FALSE(found.reachable);
    EXPECT_FALSE(found.met);
    EXPECT_TRUE(found.checked.outcomes.empty());
    EXPECT_GT(found.strengths.at(0), 0.1);
    EXPECT_NEAR(found.searched.outcomes.at(0).change.value, 0.1, 0.05);
    for (const CalibrationStep& step : found.steps) EXPECT_LT(step.pairs.first, CalibrationOptions{}.pairs);
}

TEST(Calibration, StaysUnderTheCap) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.5 * x[0]}; }};
    CalibrationOptions options;
    options.max_kl_nats = 0.04;  // strength 0.2, +10 %
    const Calibration found = model.calibrate({"tempo=+30%"}, options);
    EXPECT_FALSE(found.reachable);
    EXPECT_LE(found.searched.kl_nats, 0.04);
    EXPECT_NEAR(found.strengths.at(0), 0.19, 0.03);
    EXPECT_NEAR(found.ranges.at(0).second, 0.19, 0.03);
    EXPECT_NEAR(found.ranges.at(0).first, -0.19, 0.03);
}

TEST(Calibration, StaysWhereClipsDoNotFail) {
    const FakeModel model{
        [](const Strengths& x) { return Strengths{0.5 * x[0]}; },
        [](const Strengths& x) { return std::abs(x[0]) > 0.4 ? kInfinity : 0.1 * x[0] * x[0]; }};
    expect_met(model, model.calibrate({"tempo=+15%"}), {0.15});
    const Calibration found = model.calibrate({"tempo=+50%"});
    EXPECT_FALSE(found.reachable);
    EXPECT_LE(std::abs(found.strengths.at(0)), 0.4);
}

TEST(Calibration, IsNotMetWhereHeldOutClipsRespondOtherwise) {
    const CalibrationOptions options;
    const Effects strong = [](const Strengths& x) { return Strengths{0.5 * x[0]}; };
    const FakeModel searched{strong};
    const FakeModel held_out{[](const Strengths&) { return Strengths{0.0}; }};
    const Calibration found = calibrate(
        {MeasureTarget::parse("tempo=+15%")}, options, [&](const auto& conditions, PairRange pairs) {
            return (pairs.first >= options.max_pairs ? held_out : searched).observe(conditions, pairs);
        });
    EXPECT_TRUE(found.reachable);
    EXPECT_FALSE(found.met);
    EXPECT_NEAR(found.checked.outcomes.at(0).gap.value, -0.15, 0.05);
}

TEST(Calibration, ChecksOnPairsThatTheSearchNeverUsed) {
    const CalibrationOptions options;
    const FakeModel model{[](const Strengths& x) { return Strengths{0.5 * x[0]}; }};
    const Calibration found = model.calibrate({"tempo=+15%"}, options);
    for (const CalibrationStep& step : found.steps) {
        if (step.stage == "check") {
            EXPECT_EQ(step.pairs.first, options.max_pairs);
            EXPECT_GE(step.pairs.count, options.check_pairs);
        } else {
            EXPECT_LE(step.pairs.first + step.pairs.count, options.max_pairs);
        }
    }
    EXPECT_EQ(found.steps.back().stage, "check");
}

TEST(Calibration, TakesAsManyPairsAsTheNoiseAsksFor) {
    FakeModel model{[](const Strengths& x) { return Strengths{0.5 * x[0]}; }};
    model.clip_noise = 0.2;
    const Calibration found = model.calibrate({"tempo=+15%"});
    expect_met(model, found, {0.15});
    // A pair's change varies by 0.28 and half of a 95 % interval is to be 0.035: (1.96 * 0.28 / 0.035)^2
    // pairs, as far as 48 pairs can tell: their spread is known within a fifth, so the number within 40 %.
    EXPECT_NEAR(static_cast<double>(found.searched.pairs.count), 251.0, 100.0);
    EXPECT_EQ(found.searched.pairs.count % 16, 0);
    EXPECT_EQ(found.checked.pairs.count, found.searched.pairs.count);
    EXPECT_EQ(found.checked.pairs.first, CalibrationOptions{}.max_pairs);
    EXPECT_NEAR(found.steps.back().expected_clips, static_cast<double>(model.clips),
                static_cast<double>(model.clips) / 2.0);

    model.clip_noise = 1.0;
    CalibrationOptions options;
    options.max_pairs = 100;
    options.max_check_pairs = 120;
    EXPECT_EQ(model.calibrate({"tempo=+15%"}, options).searched.pairs.count, 100);
    options.max_pairs = options.pairs;
    options.max_check_pairs = options.check_pairs;
    EXPECT_EQ(model.calibrate({"tempo=+15%"}, options).searched.pairs.count, options.pairs);
}

TEST(Calibration, TakesNoMorePairsWhereTheTargetIsBeyondChance) {
    FakeModel model{[](const Strengths& x) { return Strengths{0.1 * std::tanh(6.0 * x[0])}; }};
    model.clip_noise = 0.3;
    const Calibration found = model.calibrate({"tempo=+50%"});
    EXPECT_FALSE(found.reachable);
    EXPECT_EQ(found.searched.pairs.count, CalibrationOptions{}.pairs);
}

TEST(Calibration, LeavesOutPairsWhereTheMeasureIsUndefined) {
    FakeModel model{[](const Strengths& x) { return Strengths{0.5 * x[0]}; }};
    model.is_undefined = [](std::size_t pair) { return pair % 8 == 3; };
    const Calibration found = model.calibrate({"tempo=+15%"});
    expect_met(model, found, {0.15});
    EXPECT_EQ(found.checked.outcomes[0].undefined, found.checked.pairs.count / 8);
    model.is_undefined = [](std::size_t pair) { return pair % 8 != 3; };
    EXPECT_THAT([&] { model.calibrate({"tempo=+15%"}); },
                ThrowsMessage<InputError>(testing::HasSubstr("tempo is not defined on 42 of 48 clips")));
}

TEST(Calibration, RefusesWhatMakesNoSense) {
    const FakeModel model{[](const Strengths& x) { return Strengths{0.5 * x[0]}; }};
    EXPECT_THROW(model.calibrate({}), UsageError);
    CalibrationOptions no_cap;
    no_cap.max_kl_nats = 0.0;
    EXPECT_THROW(model.calibrate({"tempo=+15%"}, no_cap), UsageError);
    CalibrationOptions no_pairs;
    no_pairs.check_pairs = 1;
    EXPECT_THROW(model.calibrate({"tempo=+15%"}, no_pairs), UsageError);
    CalibrationOptions shrinking;
    shrinking.max_pairs = shrinking.pairs - 1;
    EXPECT_THROW(model.calibrate({"tempo=+15%"}, shrinking), UsageError);
    CalibrationOptions no_tolerance;
    no_tolerance.tolerance = kNan;
    EXPECT_THROW(model.calibrate({"tempo=+15%"}, no_tolerance), UsageError);
    const FakeModel deadly{[](const Strengths&) { return Strengths{0.0}; },
                           [](const Strengths& x) { return x[0] == 0.0 ? 0.0 : kInfinity; }};
    EXPECT_THROW(deadly.calibrate({"tempo=+15%"}), InputError);
}

}  // namespace
}  // namespace musicsteer
