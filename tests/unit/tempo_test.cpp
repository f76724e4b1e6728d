#include "musicsteer/tempo.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace musicsteer {
namespace {

constexpr std::int64_t kRateHz = 48'000;  // 93.75 frames a second

std::vector<float> beat_every(std::size_t period, std::size_t frames = 1000) {
    std::vector<float> envelope(frames, 0.0F);
    for (std::size_t frame = 5; frame < frames; frame += period) envelope[frame] = 1.0F;
    return envelope;
}

TEST(Tempo, IsThePeriodOfTheEnvelope) {
    for (const std::size_t period : {36U, 47U, 60U, 94U}) {
        const double bpm = 60.0 * 93.75 / static_cast<double>(period);
        EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(period), kRateHz).value(), bpm);
    }
}

TEST(Tempo, DependsOnTheRate) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(16), 16'000).value(), 60.0 * 31.25 / 16.0);
}

TEST(Tempo, PrefersAMultipleNear120WhereBeatsAreTooFast) {
    // 12 frames would be 469 BPM; 48 are 117.
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(12), kRateHz).value(), 60.0 * 93.75 / 48.0);
}

TEST(Tempo, HoldsForAClipShorterThanTheWindow) {
    EXPECT_DOUBLE_EQ(estimate_tempo_bpm(beat_every(47, 200), kRateHz).value(), 60.0 * 93.75 / 47.0);
    EXPECT_TRUE(estimate_tempo_bpm(std::vector<float>{1.0F}, kRateHz).has_value());
}

TEST(Tempo, IsNothingWithoutOnsets) {
    EXPECT_EQ(estimate_tempo_bpm(std::vector<float>(500, 0.0F), kRateHz), std::nullopt);
    EXPECT_EQ(estimate_tempo_bpm({}, kRateHz), std::nullopt);
}

TEST(Tempo, IsNothingWhere8SecondsAreNotTwoFrames) {
    EXPECT_EQ(estimate_tempo_bpm(beat_every(4), 100), std::nullopt);
}

}  // namespace
}  // namespace musicsteer
