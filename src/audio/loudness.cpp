#include "audio/loudness.hpp"

#include <ebur128.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kMaxChannels = 64;
constexpr std::int64_t kLowestRateHz = 16;
constexpr std::int64_t kHighestRateHz = 2'822'400;

struct Destroy {
    void operator()(ebur128_state* state) const { ebur128_destroy(&state); }
};
using Meter = std::unique_ptr<ebur128_state, Destroy>;

void check_limits(const Audio& audio) {
    if (audio.channels < 1 || audio.channels > kMaxChannels) {
        throw InputError("loudness can be measured on 1 to " + std::to_string(kMaxChannels) +
                         " channels, found " + std::to_string(audio.channels));
    }
    if (audio.sample_rate_hz < kLowestRateHz || audio.sample_rate_hz > kHighestRateHz) {
        throw InputError("loudness can be measured at sample rates from " + std::to_string(kLowestRateHz) +
                         " to " + std::to_string(kHighestRateHz) + " Hz, found " +
                         std::to_string(audio.sample_rate_hz));
    }
}

// Within the limits, libebur128 fails only if memory runs out.
void check(int status) {
    if (status != EBUR128_SUCCESS) throw std::bad_alloc();
}

std::optional<double> integrated_lufs(ebur128_state* meter) {
    double loudness = 0.0;
    check(ebur128_loudness_global(meter, &loudness));
    return std::isfinite(loudness) ? std::optional(loudness) : std::nullopt;
}

std::optional<double> true_peak_dbtp(ebur128_state* meter) {
    double highest = 0.0;
    for (unsigned channel = 0; channel < meter->channels; ++channel) {
        double peak = 0.0;
        check(ebur128_true_peak(meter, channel, &peak));
        highest = std::max(highest, peak);
    }
    return highest > 0.0 ? std::optional(20.0 * std::log10(highest)) : std::nullopt;
}

}  // namespace

Loudness measure_loudness(const Audio& audio) {
    check_limits(audio);
    const Meter meter(ebur128_init(static_cast<unsigned>(audio.channels),
                                   static_cast<unsigned long>(audio.sample_rate_hz),
                                   EBUR128_MODE_I | EBUR128_MODE_TRUE_PEAK));
    if (!meter) throw std::bad_alloc();
    check(ebur128_add_frames_float(meter.get(), audio.samples.data(),
                                   static_cast<std::size_t>(audio.frames())));
    return {integrated_lufs(meter.get()), true_peak_dbtp(meter.get())};
}

}  // namespace musicsteer
