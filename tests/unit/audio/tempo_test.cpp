#include "audio/tempo.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kTempoRateHz = 48'000;  // 93.75 frames a second

std::vector<float> beat_every(std::size_t period, std::size_t frames = 1000) {
    std::vector<float> envelope(frames, 0.0F);
    for (std::size_t frame = 5; frame < frames; frame += period) envelope[frame] = 1.0F;
    return envelope;
}

TEST(Tempo, IsThePeriodOfTheEnvelope) {
    for (const std::size_t period : {36U, 47U, 60U, 94U}) {
        const double bpm = 60.0 * 93.75 / static_cast<double>(period);
        EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(period), kTempoRateHz).value(), bpm);
    }
}

TEST(Tempo, DependsOnTheRate) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(16), 16'000).value(), 60.0 * 31.25 / 16.0);
}

TEST(Tempo, PrefersAMultipleNear120WhereBeatsAreTooFast) {
    // 12 frames would be 469 BPM; 48 are 117.
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(12), kTempoRateHz).value(), 60.0 * 93.75 / 48.0);
}

TEST(Tempo, HoldsForAClipShorterThanTheWindow) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(47, 200), kTempoRateHz).value(), 60.0 * 93.75 / 47.0);
    EXPECT_TRUE(estimate_tempo_bpm(std::vector<float>{1.0F}, kTempoRateHz).has_value());
}

TEST(Tempo, IsNothingWithoutOnsets) {
    EXPECT_EQ(estimate_tempo_bpm(std::vector<float>(500, 0.0F), kTempoRateHz), std::nullopt);
    EXPECT_EQ(estimate_tempo_bpm({}, kTempoRateHz), std::nullopt);
}

TEST(Tempo, IsNothingWhere8SecondsAreNotTwoFrames) {
    EXPECT_EQ(estimate_tempo_bpm(beat_every(4), 100), std::nullopt);
}

TEST(Tempo, FollowsThePrior) {
    // 78 frames are 72 BPM and, at every other lag, 36; at half of it nothing begins.
    std::vector<float> envelope = beat_every(78);
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(envelope, kTempoRateHz).value(), 60.0 * 93.75 / 78.0);
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(envelope, kTempoRateHz, {36.0, 0.1}).value(), 60.0 * 93.75 / 156.0);
    // 12 frames would be 469 BPM, above the highest; 24 are 234.
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(12), kTempoRateHz, {240.0, 0.2}).value(),
                     60.0 * 93.75 / 24.0);
}

TEST(TempoPrior, IsTypedAsTwoNumbers) {
    EXPECT_EQ(TempoPrior::parse("106:0.5"), (TempoPrior{106.0, 0.5}));
    EXPECT_EQ(TempoPrior::parse((TempoPrior{106.0, 0.5}).text()), (TempoPrior{106.0, 0.5}));
    for (const std::string text :
         {"", "106", "106:", ":1", "106:0", "-106:1", "106:nan", "inf:1", "a:b", "1:1:1"})
        EXPECT_THROW(TempoPrior::parse(text), UsageError) << text;
}

}  // namespace
}  // namespace musicsteer
