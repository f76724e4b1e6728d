#include "audio/loudness.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// The same sine on all channels, faded in over 10 ms; phase in turns.
Audio sine(double hz, double amplitude, double phase, std::int64_t channels, std::int64_t rate_hz,
           double duration_s) {
    Audio audio{{}, channels, rate_hz};
    const auto frames = static_cast<std::int64_t>(duration_s * static_cast<double>(rate_hz));
    for (std::int64_t n = 0; n < frames; ++n) {
        const double t = static_cast<double>(n) / static_cast<double>(rate_hz);
        const double value =
            std::min(1.0, t / 0.01) * amplitude * std::sin(2 * std::numbers::pi * (hz * t + phase));
        audio.samples.insert(audio.samples.end(), static_cast<std::size_t>(channels),
                             static_cast<float>(value));
    }
    return audio;
}

const double kMinus23Db = std::pow(10.0, -23.0 / 20.0);

TEST(Loudness, ReadsTheReferenceToneAsMinus23) {  // EBU Tech 3341, test case 1
    EXPECT_NEAR(measure_loudness(sine(1000, kMinus23Db, 0, 2, 48'000, 20)).integrated_lufs.value(), -23.0,
                0.1);
}

TEST(Loudness, ReadsOneChannel3LuBelowTwo) {
    EXPECT_NEAR(measure_loudness(sine(1000, kMinus23Db, 0, 1, 16'000, 5)).integrated_lufs.value(), -26.0,
                0.1);
}

TEST(Loudness, LeavesOutSilenceBetweenSounds) {
    Audio audio = sine(1000, kMinus23Db, 0, 2, 48'000, 10);
    audio.samples.resize(audio.samples.size() * 3, 0.0F);
    EXPECT_NEAR(measure_loudness(audio).integrated_lufs.value(), -23.0, 0.1);
}

TEST(Loudness, FindsPeaksBetweenSamples) {
    // A quarter of the rate, sampled 45 degrees beside the peaks: samples reach 0.354, the wave 0.5.
    const Loudness found = measure_loudness(sine(12'000, 0.5, 0.125, 1, 48'000, 1));
    EXPECT_NEAR(found.true_peak_dbtp.value(), -6.02, 0.2);
}

TEST(Loudness, TakesTheHighestPeakOfAllChannels) {
    Audio audio = sine(1000, 0.25, 0, 2, 48'000, 1);
    for (std::size_t i = 1; i < audio.samples.size(); i += 2) audio.samples[i] *= 2.0F;
    EXPECT_NEAR(measure_loudness(audio).true_peak_dbtp.value(), -6.02, 0.05);
}

TEST(Loudness, OfSilenceIsNothing) {
    const Loudness found = measure_loudness({std::vector<float>(48'000, 0.0F), 1, 48'000});
    EXPECT_EQ(found.integrated_lufs, std::nullopt);
    EXPECT_EQ(found.true_peak_dbtp, std::nullopt);
}

TEST(Loudness, OfLessThan400MsIsNothing) {
    const Loudness found = measure_loudness(sine(1000, 0.5, 0, 1, 48'000, 0.3));
    EXPECT_EQ(found.integrated_lufs, std::nullopt);
    EXPECT_NEAR(found.true_peak_dbtp.value(), -6.02, 0.05);
}

TEST(Loudness, RefusesTooManyChannelsAndOddRates) {
    EXPECT_THAT(
        [] {
            measure_loudness({std::vector<float>(65, 0.1F), 65, 48'000});
        },
        ThrowsMessage<InputError>(AllOf(HasSubstr("64 channels"), HasSubstr("found 65"))));
    EXPECT_THAT(
        [] {
            measure_loudness({{0.1F}, 1, 8});
        },
        ThrowsMessage<InputError>(HasSubstr("from 16 to 2822400 Hz, found 8")));
}

}  // namespace
}  // namespace musicsteer
