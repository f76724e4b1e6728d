#include "audio/audio_finish.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "audio/loudness.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kRateHz = 32'000;

Audio tone(double amplitude, std::int64_t channels = 1) {
    Audio audio{{}, channels, kRateHz};
    for (std::int64_t n = 0; n < 4 * kRateHz; ++n) {
        const double phase =
            2 * std::numbers::pi * 997.0 * static_cast<double>(n) / static_cast<double>(kRateHz);
        audio.samples.insert(audio.samples.end(), static_cast<std::size_t>(channels),
                             static_cast<float>(amplitude * std::sin(phase)));
    }
    return audio;
}

TEST(AudioFinish, ChangesNothingByDefault) {
    const Audio audio = tone(0.3, 2);
    const FinishedAudio finished = finish_audio(audio, {});
    EXPECT_EQ(finished.audio.samples, audio.samples);
    EXPECT_EQ(finished.gain_db, 0.0);
    EXPECT_TRUE(AudioFinish().changes_nothing());
}

TEST(AudioFinish, BringsAClipToItsLoudnessByOneGain) {
    for (const double amplitude : {0.02, 0.5}) {
        const FinishedAudio finished = finish_audio(tone(amplitude), {.loudness_lufs = -20.0});
        EXPECT_NEAR(measure_loudness(finished.audio).integrated_lufs.value(), -20.0, 0.01);
        EXPECT_NEAR(finished.audio.samples[100] / tone(amplitude).samples[100],
                    std::pow(10.0, finished.gain_db / 20.0), 1e-4);
        EXPECT_EQ(finished.missing_db, 0.0);
    }
}

TEST(AudioFinish, KeepsTruePeaksBelowTheCeilingAndSaysWhatIsMissing) {
    Audio audio = tone(0.05);
    audio.samples[40'000] = 0.8F;  // a click
    const FinishedAudio finished = finish_audio(audio, {.loudness_lufs = -14.0});
    const Loudness loudness = measure_loudness(finished.audio);
    EXPECT_NEAR(loudness.true_peak_dbtp.value(), kTruePeakCeilingDbtp, 0.01);
    EXPECT_GT(finished.missing_db, 5.0);
    EXPECT_NEAR(loudness.integrated_lufs.value() + finished.missing_db, -14.0, 0.01);
}

TEST(AudioFinish, DoesNotMakeALoudClipQuieterThanAsked) {
    Audio audio = tone(0.2);
    audio.samples[40'000] = 1.0F;  // over the ceiling already
    const double loudness = measure_loudness(audio).integrated_lufs.value();
    EXPECT_NEAR(finish_audio(audio, {.loudness_lufs = loudness - 0.1}).gain_db, -0.1, 1e-6);
    EXPECT_NEAR(finish_audio(audio, {.loudness_lufs = loudness + 1.0}).gain_db, 0.0, 1e-6);
}

TEST(AudioFinish, LeavesSilenceAlone) {
    const Audio silence{std::vector<float>(kRateHz, 0.0F), 1, kRateHz};
    EXPECT_EQ(finish_audio(silence, {.loudness_lufs = -14.0}).audio.samples, silence.samples);
}

TEST(AudioFinish, FadesBothEndsOfAllChannelsByARaisedCosine) {
    const Audio ones{std::vector<float>(2'000, 1.0F), 2, 10'000};
    const std::vector<float> faded = finish_audio(ones, {.fade_s = 0.01}).audio.samples;  // 100 frames
    EXPECT_LT(faded[0], 1e-4F);
    EXPECT_EQ(faded[0], faded[1]);
    EXPECT_NEAR(faded[2 * 50], 0.5F, 0.01F);
    EXPECT_EQ(faded[2 * 100], 1.0F);
    EXPECT_EQ(faded[2 * 899], 1.0F);
    for (std::size_t i = 0; i < faded.size(); ++i) EXPECT_EQ(faded[i], faded[faded.size() - 1 - i]);
    EXPECT_EQ(finish_audio({{1.0F, 1.0F, 1.0F}, 1, 10'000}, {.fade_s = 1.0}).audio.samples[1], 1.0F);
}

TEST(AudioFinish, Resamples) {
    const FinishedAudio finished = finish_audio(tone(0.3), {.sample_rate_hz = 48'000});
    EXPECT_EQ(finished.audio.sample_rate_hz, 48'000);
    EXPECT_NEAR(finished.audio.duration_s(), 4.0, 0.001);
}

TEST(AudioFinish, RefusesWhatMakesNoSense) {
    EXPECT_THROW(AudioFinish{.fade_s = -1.0}.validate(), UsageError);
    EXPECT_THROW(AudioFinish{.loudness_lufs = 3.0}.validate(), UsageError);
    EXPECT_NO_THROW((AudioFinish{.fade_s = 0.01, .loudness_lufs = -14.0}).validate());
}

}  // namespace
}  // namespace musicsteer
