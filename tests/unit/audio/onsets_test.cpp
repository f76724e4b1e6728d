#include "audio/onsets.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audio/spectrum.hpp"

namespace musicsteer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int64_t kFineRateHz = 44'100;    // 30 ms are 2 frames, 100 ms are 8
constexpr std::int64_t kCoarseRateHz = 48'000;  // 30 ms are 1 frame, 100 ms are 4

at::Tensor flat_spectra(std::int64_t frames, double magnitude) {
    return at::full({frames, kSpectrumBins}, magnitude, at::kFloat);
}

std::vector<float> zeros_but(std::size_t size, std::initializer_list<std::pair<std::size_t, float>> peaks) {
    std::vector<float> envelope(size, 0.0F);
    for (const auto& [frame, value] : peaks) envelope[frame] = value;
    return envelope;
}

TEST(OnsetEnvelope, ShowsARiseTwoFramesLater) {
    OnsetEnvelope builder(44'100);
    builder.add(flat_spectra(4, 1.0));
    builder.add(flat_spectra(4, 10.0));  // 20 dB up from frame 4 on
    const std::vector<float> envelope = builder.finish();
    ASSERT_EQ(envelope.size(), 8U);
    for (std::size_t frame = 0; frame < 8; ++frame) {
        EXPECT_NEAR(envelope[frame], frame == 6 ? 20.0F : 0.0F, 1e-4) << frame;
    }
}

TEST(OnsetEnvelope, DoesNotDependOnBlocks) {
    at::manual_seed(1);
    const at::Tensor magnitude = at::rand({10, kSpectrumBins});
    OnsetEnvelope whole(kFineRateHz);
    whole.add(magnitude);
    OnsetEnvelope parts(kFineRateHz);
    parts.add(magnitude.slice(0, 0, 1));
    parts.add(magnitude.slice(0, 1, 7));
    parts.add(magnitude.slice(0, 7));
    EXPECT_THAT(parts.finish(), ::testing::Pointwise(::testing::FloatNear(1e-5F), whole.finish()));
}

TEST(OnsetEnvelope, IgnoresFallsAndWhatIsFarBelowTheLoudestBand) {
    OnsetEnvelope builder(44'100);
    builder.add(flat_spectra(1, 1.0));
    builder.add(flat_spectra(3, 1e-9));
    builder.add(flat_spectra(4, 1.0));  // 100 dB up to the smallest power, of which at most 80 count
    const std::vector<float> envelope = builder.finish();
    EXPECT_EQ(envelope[3], 0.0F);
    EXPECT_LE(envelope[6], 80.0F);
    EXPECT_GT(envelope[6], 75.0F);
}

TEST(OnsetEnvelope, IsAsLongAsTheSignalHoweverShort) {
    OnsetEnvelope builder(kFineRateHz);
    EXPECT_THAT(builder.finish(), IsEmpty());
    builder.add(flat_spectra(2, 1.0));
    EXPECT_THAT(builder.finish(), ElementsAre(0.0F, 0.0F));
}

TEST(PickOnsets, FindsPeaks) {
    const std::vector<float> envelope = zeros_but(80, {{0, 0.8F}, {20, 1.0F}, {40, 0.5F}, {60, 0.9F}});
    EXPECT_THAT(pick_onsets(envelope, kFineRateHz), ElementsAre(0, 20, 40, 60));
}

TEST(PickOnsets, LeavesOutWhatIsHardlyAboveItsSurroundings) {
    const std::vector<float> envelope = zeros_but(80, {{20, 1.0F}, {40, 0.06F}, {60, 0.09F}});
    EXPECT_THAT(pick_onsets(envelope, kFineRateHz), ElementsAre(20, 60));
}

TEST(PickOnsets, CountsOnsetsWithin30MsOnceWhereFramesAreFine) {
    const std::vector<float> envelope = zeros_but(80, {{20, 0.9F}, {21, 1.0F}, {22, 0.95F}, {24, 1.0F}});
    EXPECT_THAT(pick_onsets(envelope, kFineRateHz), ElementsAre(20, 24));
}

TEST(PickOnsets, CountsAnOnsetThatRisesOverTwoFramesOnceAtEveryRate) {
    const std::vector<float> envelope = zeros_but(80, {{20, 0.9F}, {21, 1.0F}, {40, 1.0F}, {41, 0.9F}});
    for (const std::int64_t rate_hz : {8'000L, 16'000L, 22'050L, 24'000L, 32'000L, 44'100L, 48'000L, 96'000L})
        EXPECT_EQ(pick_onsets(envelope, rate_hz).size(), 2U) << rate_hz;
    EXPECT_THAT(pick_onsets(envelope, kCoarseRateHz), ElementsAre(20, 40));
}

TEST(OnsetHop, IsAbout16Milliseconds) {
    EXPECT_EQ(onset_hop_length(16'000), 256);
    EXPECT_EQ(onset_hop_length(32'000), 512);
    for (const std::int64_t rate_hz : {8'000L, 22'050L, 24'000L, 44'100L, 48'000L, 96'000L, 192'000L}) {
        const double seconds = static_cast<double>(onset_hop_length(rate_hz)) / static_cast<double>(rate_hz);
        EXPECT_GT(seconds, 0.0113) << rate_hz;
        EXPECT_LT(seconds, 0.0227) << rate_hz;
    }
    EXPECT_EQ(onset_hop_length(1), 1);
}

TEST(PickOnsets, IsBlindToOffsetAndScale) {
    std::vector<float> envelope = zeros_but(80, {{20, 1.0F}, {40, 0.5F}});
    for (float& value : envelope) value = 7.0F + 0.01F * value;
    EXPECT_THAT(pick_onsets(envelope, kFineRateHz), ElementsAre(20, 40));
}

TEST(PickOnsets, FindsNothingInAFlatEnvelope) {
    EXPECT_THAT(pick_onsets(std::vector<float>(50, 0.0F), kFineRateHz), IsEmpty());
    EXPECT_THAT(pick_onsets(std::vector<float>(50, 3.0F), kFineRateHz), IsEmpty());
    EXPECT_THAT(pick_onsets({}, kFineRateHz), IsEmpty());
}

}  // namespace
}  // namespace musicsteer
