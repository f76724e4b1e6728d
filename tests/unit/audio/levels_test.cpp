#include "audio/levels.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "audio/spectrum.hpp"

namespace musicsteer {
namespace {

at::Tensor constant_frames(std::int64_t frames, double value) {
    return at::full({frames, kFftSize}, value, at::kDouble);
}

TEST(Levels, AveragesTheRootMeanSquareOfFrames) {
    LevelAverager averager;
    averager.add(constant_frames(1, -0.5));
    averager.add(constant_frames(3, 0.1));
    EXPECT_DOUBLE_EQ(averager.levels().rms, 0.2);
    EXPECT_EQ(averager.levels().silence_share, 0.0);
}

TEST(Levels, CallsFramesBelowMinus60DbSilent) {
    LevelAverager averager;
    averager.add(constant_frames(2, 0.00101));
    averager.add(constant_frames(5, 0.00099));
    averager.add(constant_frames(1, 0.0));
    EXPECT_DOUBLE_EQ(averager.levels().silence_share, 0.75);
}

TEST(Levels, OfNothingAreZero) {
    EXPECT_EQ(LevelAverager().levels().rms, 0.0);
}

TEST(Levels, CountsSamplesAtTheEndsOfTheScale) {
    const float highest = 32767.0F / 32768.0F;
    const Audio audio{{1.0F, -1.0F, highest, -highest, 32766.0F / 32768.0F, 1.5F, 0.0F, -2.0F}, 2, 8000};
    EXPECT_EQ(count_full_scale_samples(audio), 5);
}

}  // namespace
}  // namespace musicsteer
