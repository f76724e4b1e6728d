#include "audio/spectrum.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "base/shapes.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Samples in a block: 256 frames of the usual size.
constexpr std::int64_t kBlockSamples = 256 * kFftSize;
constexpr double kRolloffShare = 0.85;
constexpr double kMinPower = 1e-10;

/// Samples [first, first + count) of the mean of all channels. Summed in float32, as numpy does for float32
/// channels.
at::Tensor mono_samples(const Audio& audio, std::int64_t first, std::int64_t count, BeyondEnds beyond_ends) {
    at::Tensor mono = at::zeros({count}, at::kDouble);
    double* const out = mono.mutable_data_ptr<double>();
    const bool reflected = beyond_ends == BeyondEnds::kReflection;
    const std::int64_t last = audio.frames() - 1;
    const std::int64_t end = reflected ? first + count : std::min(first + count, audio.frames());
    for (std::int64_t n = reflected ? first : std::max<std::int64_t>(first, 0); n < end; ++n) {
        const std::int64_t place = n < 0 ? -n : n > last ? 2 * last - n : n;
        const float* const frame = audio.samples.data() + place * audio.channels;
        float sum = 0.0F;
        for (std::int64_t channel = 0; channel < audio.channels; ++channel) sum += frame[channel];
        out[n - first] = sum / static_cast<float>(audio.channels);
    }
    return mono;
}

double sum_of(const at::Tensor& values) {
    return values.sum(at::kDouble).item<double>();
}

}  // namespace

std::int64_t num_spectrum_frames(std::int64_t num_samples, std::int64_t hop) {
    return 1 + num_samples / hop;
}

at::Tensor every(const FrameBlock& block, const at::Tensor& values, std::int64_t step) {
    const std::int64_t first = (block.first + step - 1) / step * step - block.first;
    return values.slice(0, std::min(first, values.size(0)), values.size(0), step);
}

void for_each_frame_block(const Audio& audio, const Framing& framing,
                          const std::function<void(const FrameBlock&)>& visit) {
    if (audio.frames() < 1) throw InputError("holds no samples: there is nothing to measure");
    const auto [size, hop, beyond_ends] = framing;
    const at::Tensor window = at::hann_window(size, /*periodic=*/true, at::kDouble);
    const std::int64_t total = num_spectrum_frames(audio.frames(), hop);
    const std::int64_t in_block = std::max<std::int64_t>(1, kBlockSamples / size);
    for (std::int64_t first = 0; first < total; first += in_block) {
        const std::int64_t frames = std::min(in_block, total - first);
        const at::Tensor mono =
            mono_samples(audio, first * hop - size / 2, (frames - 1) * hop + size, beyond_ends);
        FrameBlock block;
        block.first = first;
        block.samples = mono.unfold(0, size, hop);
        block.magnitude = at::fft_rfft(block.samples * window).to(at::kComplexFloat).abs();
        visit(block);
    }
}

SpectralAverager::SpectralAverager(std::int64_t sample_rate_hz)
    : frequencies_hz_(at::arange(kSpectrumBins, at::kDouble) * static_cast<double>(sample_rate_hz) /
                      static_cast<double>(kFftSize)) {}

void SpectralAverager::add(const at::Tensor& magnitude) {
    check_shape(magnitude, {kAnySize, kSpectrumBins}, "spectral magnitudes");
    const at::Tensor weights = magnitude.to(at::kDouble);
    // A nearly empty frame stays as it is, as in librosa.util.normalize.
    at::Tensor totals = weights.sum(1, /*keepdim=*/true);
    totals = totals.masked_fill(totals < std::numeric_limits<float>::min(), 1.0);
    const at::Tensor shares = weights / totals;

    const at::Tensor centroid = shares.matmul(frequencies_hz_).unsqueeze(1);
    const at::Tensor deviation = frequencies_hz_ - centroid;
    sums_.centroid_hz += sum_of(centroid);
    sums_.bandwidth_hz += sum_of((shares * deviation.square()).sum(1).sqrt());

    const at::Tensor from_below = magnitude.cumsum(1);
    const at::Tensor threshold = from_below.slice(1, kSpectrumBins - 1) * kRolloffShare;
    const at::Tensor bins_below = (from_below < threshold).sum(1);
    sums_.rolloff_hz += sum_of(frequencies_hz_.index_select(0, bins_below));

    const at::Tensor power = magnitude.square().clamp_min(kMinPower);
    const at::Tensor geometric_mean = power.log().mean(1, /*keepdim=*/false, at::kDouble).exp();
    sums_.flatness += sum_of(geometric_mean / power.mean(1, /*keepdim=*/false, at::kDouble));
    frames_ += magnitude.size(0);
}

SpectralMeans SpectralAverager::means() const {
    const double count = static_cast<double>(std::max<std::int64_t>(frames_, 1));
    return {sums_.centroid_hz / count, sums_.rolloff_hz / count, sums_.bandwidth_hz / count,
            sums_.flatness / count};
}

}  // namespace musicsteer
