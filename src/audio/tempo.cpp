#include "audio/tempo.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "audio/onsets.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kTempogramFrames = 256;
constexpr double kWindow_s = 8.0;
constexpr double kHighestBpm = 320.0;
constexpr double kResemblanceScale = 1e6;

/// The envelope with a ramp to zero at either end, half a window long, as numpy.pad(mode="linear_ramp").
at::Tensor ramped(std::span<const float> envelope, std::int64_t ramp) {
    std::vector<double> values;
    values.reserve(envelope.size() + 2 * static_cast<std::size_t>(ramp));
    const auto on_ramp = [ramp](float edge, std::int64_t step) {
        return static_cast<float>(static_cast<double>(edge) * static_cast<double>(step) /
                                  static_cast<double>(ramp));
    };
    for (std::int64_t i = 0; i < ramp; ++i) values.push_back(on_ramp(envelope.front(), i));
    values.insert(values.end(), envelope.begin(), envelope.end());
    for (std::int64_t i = ramp - 1; i >= 0; --i) values.push_back(on_ramp(envelope.back(), i));
    return at::tensor(values, at::kDouble);
}

/// The smallest size >= `size` without a prime factor above 5: FFTs of such sizes are fast.
std::int64_t fast_fft_size(std::int64_t size) {
    for (;; ++size) {
        std::int64_t rest = size;
        for (const std::int64_t factor : {2, 3, 5}) {
            while (rest % factor == 0) rest /= factor;
        }
        if (rest == 1) return size;
    }
}

/// Mean over frames of the autocorrelation of the window around each frame, scaled to 1 at lag 0.
/// The inverse transform is linear, so one transform of the mean does for all frames.
/// @return [lags] float64
at::Tensor mean_autocorrelation(std::span<const float> envelope, std::int64_t lags) {
    const auto frames = static_cast<std::int64_t>(envelope.size());
    const at::Tensor windows = ramped(envelope, lags / 2).unfold(0, lags, 1);
    const at::Tensor shape = at::hann_window(lags, /*periodic=*/true, at::kDouble);
    const std::int64_t size = fast_fft_size(2 * lags - 1);
    at::Tensor power_sum = at::zeros({size / 2 + 1}, at::kDouble);
    for (std::int64_t first = 0; first < frames; first += kTempogramFrames) {
        const at::Tensor block = windows.slice(0, first, std::min(first + kTempogramFrames, frames)) * shape;
        const at::Tensor energy = block.square().sum(1, /*keepdim=*/true);
        const at::Tensor scale = energy.masked_fill(energy < std::numeric_limits<double>::min(), 1.0);
        const at::Tensor spectrum = at::view_as_real(at::fft_rfft(block, size));
        power_sum += (spectrum.square().sum(2) / scale).sum(0);
    }
    return at::fft_irfft(power_sum / static_cast<double>(frames), size).slice(0, 0, lags);
}

}  // namespace

TempoPrior TempoPrior::parse(const std::string& text) {
    const std::string expected =
        "tempo prior " + in_quotes(text) +
        ": expected BPM:OCTAVES, the middle and the standard deviation, both above 0, such as 106:0.5";
    const auto number = [&](const std::string& digits) {
        char* end = nullptr;
        const double value = std::strtod(digits.c_str(), &end);
        if (digits.empty() || *end != '\0' || !std::isfinite(value) || value <= 0.0)
            throw UsageError(expected);
        return value;
    };
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos) throw UsageError(expected);
    return {number(text.substr(0, colon)), number(text.substr(colon + 1))};
}

std::string TempoPrior::text() const {
    return nlohmann::json(bpm).dump() + ":" + nlohmann::json(octaves).dump();
}

std::optional<double> estimate_tempo_bpm(std::span<const float> envelope, std::int64_t sample_rate_hz,
                                         const TempoPrior& prior) {
    const double frame_rate_hz =
        static_cast<double>(sample_rate_hz) / static_cast<double>(onset_hop_length(sample_rate_hz));
    const auto lags = static_cast<std::int64_t>(std::floor(kWindow_s * frame_rate_hz));
    if (std::none_of(envelope.begin(), envelope.end(), [](float value) { return value > 0; }))
        return std::nullopt;
    const at::Tensor correlation = mean_autocorrelation(envelope, lags);
    const auto resemblance = correlation.accessor<double, 1>();
    double best_score = -std::numeric_limits<double>::infinity();
    std::optional<double> best_bpm;
    for (std::int64_t lag = 1; lag < lags; ++lag) {
        const double bpm = 60.0 * frame_rate_hz / static_cast<double>(lag);
        if (bpm >= kHighestBpm) continue;
        const double deviations = std::log2(bpm / prior.bpm) / prior.octaves;
        const double score = std::log1p(kResemblanceScale * resemblance[lag]) - 0.5 * deviations * deviations;
        if (score <= best_score) continue;
        best_score = score;
        best_bpm = bpm;
    }
    return best_bpm;
}

}  // namespace musicsteer
