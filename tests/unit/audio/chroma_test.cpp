#include "audio/chroma.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kC = 0, kDSharp = 3, kA = 9;

Audio tone(double frequency_hz, double duration_s, std::int64_t sample_rate_hz = 32000,
           std::int64_t channels = 1) {
    Audio audio{{}, channels, sample_rate_hz};
    const auto frames = static_cast<std::int64_t>(duration_s * static_cast<double>(sample_rate_hz));
    for (std::int64_t n = 0; n < frames; ++n) {
        const double phase = 2.0 * std::numbers::pi * frequency_hz * static_cast<double>(n) /
                             static_cast<double>(sample_rate_hz);
        audio.samples.insert(audio.samples.end(), static_cast<std::size_t>(channels),
                             static_cast<float>(0.5 * std::sin(phase)));
    }
    return audio;
}

/// The class of each frame; -1 where a frame is not one-hot.
std::vector<std::int64_t> classes(const at::Tensor& chroma) {
    std::vector<std::int64_t> found;
    for (std::int64_t f = 0; f < chroma.size(0); ++f) {
        const bool is_one_hot =
            chroma[f].sum().item<float>() == 1.0F && chroma[f].max().item<float>() == 1.0F;
        found.push_back(is_one_hot ? chroma[f].argmax().item<std::int64_t>() : -1);
    }
    return found;
}

std::vector<std::int64_t> all(std::size_t count, std::int64_t value) {
    return std::vector<std::int64_t>(count, value);
}

TEST(Chroma, NamesTheClassOfATone) {
    EXPECT_EQ(classes(strongest_pitch_classes(tone(440.0, 2.0), {})), all(1 + 64000 / 4096, kA));
    EXPECT_EQ(classes(strongest_pitch_classes(tone(880.0, 2.0), {})), all(16, kA));
    EXPECT_EQ(classes(strongest_pitch_classes(tone(261.63, 2.0), {})), all(16, kC));
    EXPECT_EQ(classes(strongest_pitch_classes(tone(311.13, 2.0), {})), all(16, kDSharp));
}

TEST(Chroma, HearsAnyRateAndChannels) {
    for (const std::int64_t rate_hz : {8000, 44100, 48000}) {
        const at::Tensor chroma = strongest_pitch_classes(tone(440.0, 2.0, rate_hz, 2), {});
        EXPECT_EQ(classes(chroma), all(16, kA)) << rate_hz;
    }
}

TEST(Chroma, PadsWhatIsShorterThanAFrameAndCutsWhatIsTooLong) {
    EXPECT_EQ(classes(strongest_pitch_classes(tone(440.0, 0.1), {})), all(1 + 16384 / 4096, kA));
    EXPECT_EQ(strongest_pitch_classes(tone(440.0, 33.0), {}).size(0), 235);
    EXPECT_EQ(strongest_pitch_classes(tone(440.0, 33.0, 44100), {}).size(0), 235);
    ChromaFraming short_memory;
    short_memory.longest_s = 1.0;
    EXPECT_EQ(strongest_pitch_classes(tone(440.0, 3.0), short_memory).size(0), 1 + 32000 / 4096);
}

TEST(Chroma, OfSilenceIsTheFirstClass) {
    EXPECT_EQ(classes(strongest_pitch_classes(tone(0.0, 1.0), {})), all(8, kC));
}

TEST(Chroma, NeedsSamples) {
    EXPECT_THROW((void)strongest_pitch_classes({{}, 1, 32000}, {}), InputError);
}

}  // namespace
}  // namespace musicsteer
