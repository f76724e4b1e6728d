#include "audio/mel.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "audio/spectrum.hpp"

namespace musicsteer {
namespace {

constexpr double kHzPerMel = 200.0 / 3.0;
constexpr double kLogStartHz = 1000.0;
constexpr double kLogStartMel = kLogStartHz / kHzPerMel;
const double kLogStep = std::log(6.4) / 27.0;

double to_mel(double hz) {
    return hz < kLogStartHz ? hz / kHzPerMel : kLogStartMel + std::log(hz / kLogStartHz) / kLogStep;
}

double to_hz(double mel) {
    return mel < kLogStartMel ? mel * kHzPerMel : kLogStartHz * std::exp(kLogStep * (mel - kLogStartMel));
}

}  // namespace

at::Tensor mel_filterbank(std::int64_t sample_rate_hz) {
    const double rate = static_cast<double>(sample_rate_hz);
    // Band b rises from edge b to edge b + 1 and falls to edge b + 2.
    std::array<double, kMelBands + 2> edges_hz{};
    for (std::size_t i = 0; i < edges_hz.size(); ++i) {
        edges_hz[i] = to_hz(to_mel(rate / 2) * static_cast<double>(i) / static_cast<double>(kMelBands + 1));
    }
    at::Tensor filters = at::zeros({kMelBands, kSpectrumBins}, at::kFloat);
    auto weights = filters.accessor<float, 2>();
    for (std::int64_t band = 0; band < kMelBands; ++band) {
        const auto b = static_cast<std::size_t>(band);
        const double low = edges_hz[b];
        const double middle = edges_hz[b + 1];
        const double high = edges_hz[b + 2];
        for (std::int64_t bin = 0; bin < kSpectrumBins; ++bin) {
            const double hz = static_cast<double>(bin) * rate / static_cast<double>(kFftSize);
            const double height = std::min((hz - low) / (middle - low), (high - hz) / (high - middle));
            weights[band][bin] = static_cast<float>(std::max(0.0, height) * 2.0 / (high - low));
        }
    }
    return filters;
}

}  // namespace musicsteer
