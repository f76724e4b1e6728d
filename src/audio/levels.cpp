#include "audio/levels.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "audio/spectrum.hpp"
#include "base/shapes.hpp"

namespace musicsteer {
namespace {

constexpr double kSilentRms = 1e-3;  // -60 dB
constexpr float kHighest = 32767.0F / 32768.0F;
constexpr float kLowest = -1.0F;

}  // namespace

void LevelAverager::add(const at::Tensor& samples) {
    check_shape(samples, {kAnySize, kFftSize}, "frames");
    const at::Tensor rms = samples.square().mean(1).sqrt();
    rms_sum_ += rms.sum().item<double>();
    silent_frames_ += (rms < kSilentRms).sum().item<std::int64_t>();
    frames_ += samples.size(0);
}

Levels LevelAverager::levels() const {
    const double count = static_cast<double>(std::max<std::int64_t>(frames_, 1));
    return {rms_sum_ / count, static_cast<double>(silent_frames_) / count};
}

std::int64_t count_full_scale_samples(const Audio& audio) {
    return std::count_if(audio.samples.begin(), audio.samples.end(),
                         [](float sample) { return sample >= kHighest || sample <= kLowest; });
}

}  // namespace musicsteer
