#include "audio/onsets.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "audio/mel.hpp"
#include "audio/spectrum.hpp"
#include "base/shapes.hpp"

namespace musicsteer {
namespace {

constexpr double kMinBandPower = 1e-10;
constexpr float kDynamicRangeDb = 80.0F;
constexpr std::size_t kLagFrames = 1;
constexpr double kFrame_s = 0.016;

constexpr double kMaximumWindow_s = 0.03;
constexpr double kMeanWindow_s = 0.10;
constexpr double kWait_s = 0.03;
constexpr float kThreshold = 0.07F;

std::int64_t whole_frames(double duration_s, std::int64_t sample_rate_hz) {
    return static_cast<std::int64_t>(std::floor(duration_s * static_cast<double>(sample_rate_hz) /
                                                static_cast<double>(onset_hop_length(sample_rate_hz))));
}

std::span<const float> around(std::span<const float> values, std::int64_t at, std::int64_t before,
                              std::int64_t after) {
    const std::int64_t first = std::max<std::int64_t>(0, at - before);
    const std::int64_t end = std::min(std::ssize(values), at + after + 1);
    return values.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
}

double mean_of(std::span<const float> values) {
    return std::accumulate(values.begin(), values.end(), 0.0F) / static_cast<double>(values.size());
}

/// To 0 ... 1; empty if the envelope is flat.
std::vector<float> scaled(std::span<const float> envelope) {
    if (envelope.empty()) return {};
    const auto [least, most] = std::minmax_element(envelope.begin(), envelope.end());
    if (*least == *most) return {};
    const float range = *most - *least;
    std::vector<float> result;
    result.reserve(envelope.size());
    for (const float value : envelope) result.push_back((value - *least) / range);
    return result;
}

}  // namespace

std::int64_t onset_hop_length(std::int64_t sample_rate_hz) {
    const double exponent = std::round(std::log2(kFrame_s * static_cast<double>(sample_rate_hz)));
    return std::int64_t{1} << static_cast<int>(std::max(exponent, 0.0));
}

OnsetEnvelope::OnsetEnvelope(std::int64_t sample_rate_hz)
    : shift_frames_(kLagFrames + static_cast<std::size_t>(kFftSize / (2 * onset_hop_length(sample_rate_hz)))),
      filters_(mel_filterbank(sample_rate_hz).t().contiguous()) {}

void OnsetEnvelope::add(const at::Tensor& magnitude) {
    check_shape(magnitude, {kAnySize, kSpectrumBins}, "spectral magnitudes");
    if (magnitude.size(0) == 0) return;
    bands_.push_back(magnitude.square().mm(filters_).clamp_min(kMinBandPower).log10() * 10.0);
    loudest_db_ = std::max(loudest_db_, bands_.back().max().item<float>());
}

std::vector<float> OnsetEnvelope::finish() const {
    std::vector<float> envelope(shift_frames_, 0.0F);
    at::Tensor last;  // [1, kMelBands], of the block before
    std::size_t frames = 0;
    for (const at::Tensor& block : bands_) {
        const at::Tensor bands = block.clamp_min(loudest_db_ - kDynamicRangeDb);
        const at::Tensor with_last = last.defined() ? at::cat({last, bands}) : bands;
        const at::Tensor rises = with_last.diff(1, 0).clamp_min(0.0).mean(1);
        envelope.insert(envelope.end(), rises.const_data_ptr<float>(),
                        rises.const_data_ptr<float>() + rises.numel());
        last = bands.slice(0, bands.size(0) - 1);
        frames += static_cast<std::size_t>(block.size(0));
    }
    envelope.resize(frames);
    return envelope;
}

std::vector<std::int64_t> pick_onsets(std::span<const float> envelope, std::int64_t sample_rate_hz) {
    const std::int64_t maximum_window = whole_frames(kMaximumWindow_s, sample_rate_hz);
    const std::int64_t mean_window = whole_frames(kMeanWindow_s, sample_rate_hz);
    const std::int64_t wait = whole_frames(kWait_s, sample_rate_hz);
    const std::vector<float> values = scaled(envelope);
    const auto is_onset = [&](std::int64_t frame) {
        const std::span<const float> recent = around(values, frame, maximum_window, 0);
        const float value = values[static_cast<std::size_t>(frame)];
        return value >= *std::max_element(recent.begin(), recent.end()) &&
               value >= mean_of(around(values, frame, mean_window, mean_window)) + kThreshold;
    };
    std::vector<std::int64_t> onsets;
    for (std::int64_t frame = 0; frame < std::ssize(values); ++frame) {
        if (!is_onset(frame)) continue;
        onsets.push_back(frame);
        frame += wait;
    }
    return onsets;
}

}  // namespace musicsteer
