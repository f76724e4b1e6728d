#include "audio/spectrum.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kRateHz = 16'000;
constexpr double kBinHz = 7.8125;  // 16000 / 2048

/// All frames of a signal.
FrameBlock frames_of(const Audio& audio) {
    std::vector<at::Tensor> samples;
    std::vector<at::Tensor> magnitudes;
    for_each_frame_block(audio, {}, [&](const FrameBlock& block) {
        samples.push_back(block.samples.clone());
        magnitudes.push_back(block.magnitude);
    });
    return {0, at::cat(samples), at::cat(magnitudes)};
}

SpectralMeans means_of(const at::Tensor& magnitude) {
    SpectralAverager averager(kRateHz);
    averager.add(magnitude);
    return averager.means();
}

/// A tone in the middle of a bin, as a Hann window shows it.
at::Tensor tone_spectrum(std::int64_t bin) {
    at::Tensor magnitude = at::zeros({1, kSpectrumBins}, at::kFloat);
    magnitude[0][bin - 1] = 1.0;
    magnitude[0][bin] = 2.0;
    magnitude[0][bin + 1] = 1.0;
    return magnitude;
}

TEST(Spectrum, HasAFrameForEveryHopThatIsBegun) {
    EXPECT_EQ(num_spectrum_frames(1), 1);
    EXPECT_EQ(num_spectrum_frames(511), 1);
    EXPECT_EQ(num_spectrum_frames(512), 2);
    EXPECT_EQ(num_spectrum_frames(16'000), 32);
}

TEST(Spectrum, CentresFramesAndPadsWithZeros) {
    const FrameBlock frames = frames_of({std::vector<float>(1024, 1.0F), 1, kRateHz});
    ASSERT_EQ(frames.samples.sizes(), (std::vector<std::int64_t>{3, kFftSize}));
    // Frame 1 is centred on sample 512: it begins 512 samples before the signal and ends 512 after.
    EXPECT_EQ(frames.samples[1].slice(0, 0, 512).abs().sum().item<double>(), 0.0);
    EXPECT_EQ(frames.samples[1].slice(0, 512, 1536).sum().item<double>(), 1024.0);
    EXPECT_EQ(frames.samples[1].slice(0, 1536).abs().sum().item<double>(), 0.0);
    // The second half of a periodic Hann window sums to 2048 / 4 + 1/2.
    EXPECT_NEAR(frames.magnitude[0][0].item<double>(), 512.5, 1e-3);
}

TEST(Spectrum, GoesThroughALongSignalInOrder) {
    std::vector<float> ramp(600 * kHopLength + 7);
    for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i);
    const FrameBlock frames = frames_of({ramp, 1, kRateHz});
    ASSERT_EQ(frames.samples.size(0), 601);
    const at::Tensor centres = frames.samples.select(1, kFftSize / 2);
    EXPECT_TRUE(at::equal(centres, at::arange(601, at::kDouble) * kHopLength));
}

TEST(Spectrum, TakesTheMeanOfTheChannels) {
    const FrameBlock frames = frames_of({{1.0F, 0.5F, -1.0F, 0.0F}, 2, kRateHz});
    EXPECT_EQ(frames.samples[0][kFftSize / 2].item<double>(), 0.75);
    EXPECT_EQ(frames.samples[0][kFftSize / 2 + 1].item<double>(), -0.5);
}

TEST(Spectrum, ShowsASineInItsBin) {
    Audio sine{{}, 1, kRateHz};
    for (int n = 0; n < 8192; ++n) {
        sine.samples.push_back(static_cast<float>(
            0.5 * std::sin(2 * std::numbers::pi * 100 * n / static_cast<double>(kFftSize))));
    }
    const at::Tensor frame = frames_of(sine).magnitude[8];
    EXPECT_NEAR(frame[100].item<double>(), 256.0, 1e-3);  // amplitude x 2048 / 4
    EXPECT_NEAR(frame[101].item<double>(), 128.0, 1e-3);
    EXPECT_NEAR(frame[103].item<double>(), 0.0, 1e-3);
    const SpectralMeans means = means_of(frame.unsqueeze(0));
    EXPECT_NEAR(means.centroid_hz, 100 * kBinHz, 0.01);
}

TEST(Spectrum, RefusesASignalWithoutSamples) {
    EXPECT_THAT(
        [] {
            for_each_frame_block({{}, 1, kRateHz}, {}, [](const FrameBlock&) {});
        },
        ThrowsMessage<InputError>(HasSubstr("no samples")));
}

TEST(Spectrum, FramesOfALongerHopAreAmongThoseOfAShorter) {
    Audio noise{{}, 1, kRateHz};
    for (int n = 0; n < 40'000; ++n) noise.samples.push_back(static_cast<float>((n * 7919) % 1000) / 1000.0F);
    for (const std::int64_t hop : {128, 256, 512}) {
        std::vector<at::Tensor> kept;
        for_each_frame_block(noise, {.hop = hop}, [&](const FrameBlock& block) {
            kept.push_back(every(block, block.samples, 512 / hop));
        });
        EXPECT_TRUE(at::cat(kept).equal(frames_of(noise).samples)) << hop;
    }
}

TEST(Spectrum, AveragesATone) {
    const SpectralMeans means = means_of(tone_spectrum(100));
    EXPECT_DOUBLE_EQ(means.centroid_hz, 100 * kBinHz);
    // A quarter of the weight one bin below, a quarter one bin above.
    EXPECT_DOUBLE_EQ(means.bandwidth_hz, kBinHz * std::sqrt(0.5));
    // 25 %, 75 %, 100 % of the sum are reached in bins 99, 100 and 101.
    EXPECT_DOUBLE_EQ(means.rolloff_hz, 101 * kBinHz);
    EXPECT_LT(means.flatness, 1e-6);
}

TEST(Spectrum, AveragesAFlatSpectrum) {
    const SpectralMeans means = means_of(at::ones({3, kSpectrumBins}, at::kFloat));
    EXPECT_NEAR(means.centroid_hz, 4000.0, 1e-6);
    EXPECT_NEAR(means.rolloff_hz, 0.85 * 8000.0, kBinHz);
    EXPECT_NEAR(means.bandwidth_hz, 8000.0 / std::sqrt(12.0), kBinHz);
    EXPECT_NEAR(means.flatness, 1.0, 1e-6);
}

TEST(Spectrum, CountsSilentFramesWithCentroidZeroAndFlatnessOne) {
    SpectralAverager averager(kRateHz);
    averager.add(tone_spectrum(100));
    averager.add(at::zeros({1, kSpectrumBins}, at::kFloat));
    EXPECT_DOUBLE_EQ(averager.means().centroid_hz, 50 * kBinHz);
    EXPECT_DOUBLE_EQ(averager.means().rolloff_hz, 50.5 * kBinHz);
    EXPECT_NEAR(averager.means().flatness, 0.5, 1e-6);
}

TEST(Spectrum, AveragesNothingToZero) {
    EXPECT_EQ(SpectralAverager(kRateHz).means().centroid_hz, 0.0);
}

}  // namespace
}  // namespace musicsteer
