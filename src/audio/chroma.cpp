#include "audio/chroma.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "audio/audio_conversion.hpp"
#include "audio/spectrum.hpp"

namespace musicsteer {
namespace {

/// The first seconds, including a margin for the resampler's filter.
Audio beginning(Audio audio, double longest_s) {
    constexpr double kMargin_s = 1.0;
    const double kept = (longest_s + kMargin_s) * static_cast<double>(audio.sample_rate_hz);
    if (static_cast<double>(audio.frames()) > kept)
        audio.samples.resize(static_cast<std::size_t>(static_cast<std::int64_t>(kept) * audio.channels));
    return audio;
}

/// Mono, at most as long as the model hears, and at least one frame long: zeros are added at both ends.
Audio as_heard(const Audio& recording, const ChromaFraming& framing) {
    Audio audio = converted(beginning(recording, framing.longest_s), framing.sample_rate_hz, 1);
    const double longest = framing.longest_s * static_cast<double>(framing.sample_rate_hz);
    if (static_cast<double>(audio.frames()) > longest)
        audio.samples.resize(static_cast<std::size_t>(longest));
    const std::int64_t missing = std::max<std::int64_t>(0, framing.fft_size - audio.frames());
    audio.samples.insert(audio.samples.begin(), static_cast<std::size_t>(missing / 2), 0.0F);
    audio.samples.insert(audio.samples.end(), static_cast<std::size_t>(missing - missing / 2), 0.0F);
    return audio;
}

}  // namespace

at::Tensor chroma_filters(const ChromaFraming& framing) {
    constexpr double kClasses = kPitchClasses;
    constexpr double kLowestA_hz = 440.0 / 16.0;
    // Class 0 is A; rotate by three so that C comes first.
    constexpr std::int64_t kFromA = 3;
    // Centre and width of the pitch weighting, in octaves above the lowest A.
    constexpr double kCentre = 5.0, kHalfWidth = 2.0;
    const std::int64_t size = framing.fft_size;
    std::vector<double> pitch;  // of each bin, in semitones above the lowest A
    for (std::int64_t bin = 0; bin < size; ++bin) {
        const double frequency_hz = static_cast<double>(std::max<std::int64_t>(bin, 1)) *
                                    static_cast<double>(framing.sample_rate_hz) / static_cast<double>(size);
        pitch.push_back(kClasses * std::log2(frequency_hz / kLowestA_hz));
    }
    pitch[0] = pitch[1] - 1.5 * kClasses;  // between all classes
    const std::int64_t bins = size / 2 + 1;
    const at::Tensor filters = at::zeros({kPitchClasses, bins}, at::kDouble);
    auto cells = filters.accessor<double, 2>();
    for (std::int64_t bin = 0; bin < bins; ++bin) {
        const auto i = static_cast<std::size_t>(bin);
        const double width = i + 1 < pitch.size() ? std::max(pitch[i + 1] - pitch[i], 1.0) : 1.0;
        double squares = 0.0;
        for (std::int64_t c = 0; c < kPitchClasses; ++c) {
            const double ahead = pitch[i] - static_cast<double>((c + kFromA) % kPitchClasses);
            const double distance = ahead + kClasses / 2 -
                                    kClasses * std::floor((ahead + kClasses / 2) / kClasses) - kClasses / 2;
            cells[c][bin] = std::exp(-0.5 * std::pow(2.0 * distance / width, 2));
            squares += cells[c][bin] * cells[c][bin];
        }
        const double weight = std::exp(-0.5 * std::pow((pitch[i] / kClasses - kCentre) / kHalfWidth, 2));
        for (std::int64_t c = 0; c < kPitchClasses; ++c) cells[c][bin] *= weight / std::sqrt(squares);
    }
    return filters.to(at::kFloat);
}

at::Tensor strongest_pitch_classes(const Audio& audio, const ChromaFraming& framing) {
    const at::Tensor filters = chroma_filters(framing).to(at::kDouble).t();
    std::vector<at::Tensor> strongest;  // [frames of a block] int64
    for_each_frame_block(as_heard(audio, framing),
                         {framing.fft_size, framing.hop_length, BeyondEnds::kReflection},
                         [&](const FrameBlock& block) {
                             const at::Tensor power = block.magnitude.to(at::kDouble).square();
                             strongest.push_back(power.matmul(filters).argmax(1));
                         });
    return at::one_hot(at::cat(strongest), kPitchClasses).to(at::kFloat);
}

}  // namespace musicsteer
