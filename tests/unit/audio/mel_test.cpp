#include "audio/mel.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "audio/spectrum.hpp"

namespace musicsteer {
namespace {

TEST(Mel, HasTheseLowestBandsAt22050Hz) {
    const at::Tensor filters = mel_filterbank(22'050);
    ASSERT_EQ(filters.sizes(), (std::vector<std::int64_t>{kMelBands, kSpectrumBins}));
    // 11025 Hz are 15 + 27 ln(11.025) / ln(6.4) mel; a 129th of it in Hz is the width of a slope.
    const double slope_hz = (15.0 + 27.0 * std::log(11.025) / std::log(6.4)) / 129.0 * 200.0 / 3.0;
    const double bin_hz = 22'050.0 / 2048.0;
    EXPECT_EQ(filters[0][0].item<float>(), 0.0F);
    EXPECT_NEAR(filters[0][1].item<double>(), bin_hz / slope_hz / slope_hz, 1e-8);
    EXPECT_NEAR(filters[0][3].item<double>(), (2 * slope_hz - 3 * bin_hz) / slope_hz / slope_hz, 1e-8);
    EXPECT_EQ(filters[0][5].item<float>(), 0.0F);
    EXPECT_NEAR(filters[1][4].item<double>(), (4 * bin_hz - slope_hz) / slope_hz / slope_hz, 1e-8);
}

TEST(Mel, GivesEveryWideBandAnAreaOfOne) {
    const at::Tensor areas = mel_filterbank(48'000).sum(1) * (48'000.0 / 2048.0);
    EXPECT_TRUE(at::allclose(areas.slice(0, 80), at::ones({kMelBands - 80}), 0.05, 0.0)) << areas;
}

TEST(Mel, EndsAtHalfTheSampleRate) {
    const at::Tensor last = mel_filterbank(16'000)[kMelBands - 1];
    EXPECT_GT(last[kSpectrumBins - 2].item<float>(), 0.0F);
    EXPECT_NEAR(last[kSpectrumBins - 1].item<float>(), 0.0F, 1e-9);
}

}  // namespace
}  // namespace musicsteer
