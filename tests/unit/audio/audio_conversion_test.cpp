#include "audio/audio_conversion.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;

/// A tone of 440 Hz, the same in every channel.
Audio tone(std::int64_t sample_rate_hz, std::int64_t channels, double duration_s) {
    Audio audio{{}, channels, sample_rate_hz};
    const double rate = static_cast<double>(sample_rate_hz);
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(duration_s * rate); ++i) {
        const double phase = 2.0 * std::numbers::pi * 440.0 * static_cast<double>(i) / rate;
        audio.samples.insert(audio.samples.end(), static_cast<std::size_t>(channels),
                             static_cast<float>(0.5 * std::sin(phase)));
    }
    return audio;
}

TEST(Converted, TheSameFormatIsUntouched) {
    const Audio audio = tone(16'000, 2, 0.1);
    EXPECT_EQ(converted(audio, 16'000, 2).samples, audio.samples);
}

TEST(Converted, Channels) {
    const Audio stereo{{1.0F, 0.0F, 0.5F, 0.5F}, 2, 100};
    EXPECT_THAT(converted(stereo, 100, 1).samples, ElementsAre(0.5F, 0.5F));
    const Audio mono{{0.25F, -1.0F}, 1, 100};
    EXPECT_THAT(converted(mono, 100, 2).samples, ElementsAre(0.25F, 0.25F, -1.0F, -1.0F));
    const Audio three{{0.0F, 0.3F, 0.6F}, 3, 100};
    const Audio two = converted(three, 100, 2);
    EXPECT_EQ(two.channels, 2);
    EXPECT_FLOAT_EQ(two.samples.at(0), 0.3F);
    EXPECT_FLOAT_EQ(two.samples.at(1), 0.3F);
}

TEST(Converted, AToneStaysWhatItIs) {
    for (const std::int64_t rate : {8'000, 11'025, 44'100, 96'000}) {
        const Audio got = converted(tone(rate, 2, 1.0), 16'000, 1);
        const Audio wanted = tone(16'000, 1, 1.0);
        ASSERT_NEAR(static_cast<double>(got.frames()), 16'000.0, 2.0) << rate;
        EXPECT_EQ(got.sample_rate_hz, 16'000);
        double worst = 0.0;  // the ends aside, where the filter reaches beyond the sound
        for (std::size_t i = 1'000; i < 15'000; ++i)
            worst = std::max(worst, std::abs(static_cast<double>(got.samples[i] - wanted.samples[i])));
        EXPECT_LT(worst, 1e-3) << rate;
    }
}

TEST(Converted, WhatCannotBeConvertedIsRefused) {
    EXPECT_THROW(converted(Audio{{}, 1, 16'000}, 16'000, 1), InputError);
    EXPECT_THROW(converted(Audio{{0.5F}, 1, 10}, 48'000, 1), InputError);
}

}  // namespace
}  // namespace musicsteer
