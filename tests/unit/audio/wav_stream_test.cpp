#include "audio/wav_stream.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "../temp_folder.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

Audio some_audio() {
    Audio audio;
    audio.channels = 2;
    audio.sample_rate_hz = 32000;
    for (int i = 0; i < 3000; ++i) audio.samples.push_back(static_cast<float>(i % 700) / 350.0F - 1.0F);
    return audio;
}

std::string streamed(const Audio& audio, SampleFormat format, std::size_t samples_at_once) {
    std::string bytes;
    WavStream stream(audio, format,
                     [&](std::span<const char> more) { bytes.append(more.data(), more.size()); });
    for (std::size_t at = 0; at < audio.samples.size(); at += samples_at_once) {
        const std::size_t count = std::min(samples_at_once, audio.samples.size() - at);
        stream.write(std::span(audio.samples).subspan(at, count));
    }
    return bytes;
}

class WavStreams : public testing::TestWithParam<SampleFormat> {};

INSTANTIATE_TEST_SUITE_P(Formats, WavStreams,
                         testing::Values(SampleFormat::kPcm16, SampleFormat::kPcm24, SampleFormat::kFloat));

TEST_P(WavStreams, HoldTheSamplesOfTheFile) {
    const TempFolder folder;
    const Audio audio = some_audio();
    write_wav(folder / "file.wav", audio, GetParam(), Overwrite::kRefuse);
    std::ofstream(folder / "stream.wav", std::ios::binary) << streamed(audio, GetParam(), 130);
    const Audio file = read_audio(folder / "file.wav"), stream = read_audio(folder / "stream.wav");
    EXPECT_EQ(stream.samples, file.samples);
    EXPECT_EQ(stream.channels, 2);
    EXPECT_EQ(stream.sample_rate_hz, 32000);
}

TEST_P(WavStreams, AreWrittenForwardsWithAnUnknownSize) {
    const Audio audio = some_audio();
    const std::string bytes = streamed(audio, GetParam(), 3000);
    EXPECT_EQ(bytes, streamed(audio, GetParam(), 2));
    EXPECT_EQ(bytes.substr(0, 8), "RIFF\xFF\xFF\xFF\xFF");
    const std::size_t data = bytes.size() - audio.samples.size() * bytes_per_sample(GetParam()) - 8;
    EXPECT_EQ(bytes.substr(data, 8), "data\xFF\xFF\xFF\xFF");
}

TEST(WavStream, WhatTheSinkThrowsComesThrough) {
    bool is_full = false;
    WavStream stream(some_audio(), SampleFormat::kPcm16, [&](std::span<const char>) {
        if (is_full) throw OutputError("full");
    });
    is_full = true;
    EXPECT_THROW(stream.write(some_audio().samples), OutputError);
}

TEST(WavStream, RefusesWhatIsNotFinite) {
    WavStream stream(some_audio(), SampleFormat::kFloat, [](std::span<const char>) {});
    const std::vector<float> samples = {0.0F, std::numeric_limits<float>::quiet_NaN()};
    EXPECT_THROW(stream.write(samples), ModelError);
}

}  // namespace
}  // namespace musicsteer
