#include "audio/encoded_audio.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Stereo: 440 Hz on the left, 660 Hz on the right.
Audio chord() {
    Audio audio{{}, 2, 32'000};
    for (int n = 0; n < 40'000; ++n) {
        for (const double hz : {440.0, 660.0})
            audio.samples.push_back(
                static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * hz * n / 32'000)));
    }
    return audio;
}

TEST(EncodedAudio, FlacHoldsTheSamplesThatAWavWouldHold) {
    const TempFolder folder;
    Audio audio = chord();
    audio.samples[0] = 1.5F;
    audio.samples[1] = -1.5F;
    for (const SampleFormat format : {SampleFormat::kPcm16, SampleFormat::kPcm24}) {
        write_audio(folder / "a.flac", audio, format, Overwrite::kAllow);
        const Audio read = read_audio(folder / "a.flac");
        EXPECT_EQ(read.sample_rate_hz, 32'000);
        EXPECT_EQ(read.channels, 2);
        EXPECT_EQ(read.samples, as_written(audio, format).samples);
    }
}

TEST(EncodedAudio, LossyFilesSoundLikeIt) {
    const TempFolder folder;
    const Audio audio = chord();
    for (const char* name : {"a.ogg", "a.mp3", "A.MP3"}) {
        write_audio(folder / name, audio, SampleFormat::kPcm16, Overwrite::kRefuse);
        const Audio read = read_audio(folder / name);
        EXPECT_EQ(read.sample_rate_hz, 32'000) << name;
        EXPECT_EQ(read.channels, 2) << name;
        EXPECT_NEAR(read.duration_s(), audio.duration_s(), 0.1) << name;
        double energy = 0.0;
        for (const float sample : read.samples)
            energy += static_cast<double>(sample) * static_cast<double>(sample);
        EXPECT_NEAR(energy / static_cast<double>(read.samples.size()), 0.125, 0.01) << name;
    }
}

TEST(EncodedAudio, ExistingFilesStayUnlessForced) {
    const TempFolder folder;
    write_audio(folder / "a.flac", chord(), SampleFormat::kPcm16, Overwrite::kRefuse);
    EXPECT_THROW(write_audio(folder / "a.flac", chord(), SampleFormat::kPcm16, Overwrite::kRefuse),
                 OutputError);
}

TEST(EncodedAudio, RefusesWhatAnEncodingCannotHold) {
    EXPECT_THAT([] { check_encoding("a.flac", SampleFormat::kFloat); },
                ThrowsMessage<UsageError>(HasSubstr("a.flac: FLAC holds pcm16 or pcm24")));
    EXPECT_THAT([] { check_encoding("a.mp3", SampleFormat::kPcm24); },
                ThrowsMessage<UsageError>(HasSubstr("only WAV and FLAC have a --format")));
    EXPECT_NO_THROW(check_encoding("a.wav", SampleFormat::kFloat));
    EXPECT_TRUE(is_audio_name("x/a.FLAC"));
    EXPECT_FALSE(is_audio_name("a.aiff"));
    const TempFolder folder;
    const Audio broken{{std::numeric_limits<float>::quiet_NaN()}, 1, 32'000};
    EXPECT_THROW(write_audio(folder / "a.ogg", broken, SampleFormat::kPcm16, Overwrite::kRefuse), ModelError);
    EXPECT_FALSE(std::filesystem::exists(folder / "a.ogg"));
}

}  // namespace
}  // namespace musicsteer
