#include "audio/tempo.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kTempoRateHz = 16'000;  // 62.5 frames a second

std::vector<float> beat_every(std::size_t period, std::size_t frames = 1000) {
    std::vector<float> envelope(frames, 0.0F);
    for (std::size_t frame = 5; frame < frames; frame += period) envelope[frame] = 1.0F;
    return envelope;
}

TEST(Tempo, IsThePeriodOfTheEnvelope) {
    for (const std::size_t period : {24U, 31U, 40U, 62U}) {
        const double bpm = 60.0 * 62.5 / static_cast<double>(period);
        EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(period), kTempoRateHz).value(), bpm);
    }
}

TEST(Tempo, DependsOnTheRate) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(24), 48'000).value(), 60.0 * 46.875 / 24.0);
}

TEST(Tempo, PrefersAMultipleNear120WhereBeatsAreTooFast) {
    // 8 frames would be 469 BPM; 32 are 117.
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(8), kTempoRateHz).value(), 60.0 * 62.5 / 32.0);
}

TEST(Tempo, HoldsForAClipShorterThanTheWindow) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(31, 200), kTempoRateHz).value(), 60.0 * 62.5 / 31.0);
    EXPECT_TRUE(estimate_tempo_bpm(std::vector<float>{1.0F}, kTempoRateHz).has_value());
}

TEST(Tempo, IsNothingWithoutOnsets) {
    EXPECT_EQ(estimate_tempo_bpm(std::vector<float>(500, 0.0F), kTempoRateHz), std::nullopt);
    EXPECT_EQ(estimate_tempo_bpm({}, kTempoRateHz), std::nullopt);
}

TEST(Tempo, FollowsThePrior) {
    // 52 frames are 72 BPM and, at every other lag, 36; at half of it nothing begins.
    std::vector<float> envelope = beat_every(52);
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(envelope, kTempoRateHz).value(), 60.0 * 62.5 / 52.0);
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(envelope, kTempoRateHz, {36.0, 0.1}).value(), 60.0 * 62.5 / 104.0);
    // 8 frames would be 469 BPM, above the highest; 16 are 234.
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(8), kTempoRateHz, {240.0, 0.2}).value(),
                     60.0 * 62.5 / 16.0);
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
