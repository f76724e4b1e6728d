#include "audio/audio_finish.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "audio/audio_conversion.hpp"
#include "audio/loudness.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

void fade_ends(Audio& audio, double fade_s) {
    const auto channels = static_cast<std::size_t>(audio.channels);
    const auto frames = static_cast<std::size_t>(audio.frames());
    const auto wanted =
        static_cast<std::size_t>(std::llround(fade_s * static_cast<double>(audio.sample_rate_hz)));
    const std::size_t length = std::min(wanted, frames / 2);
    for (std::size_t i = 0; i < length; ++i) {
        const double phase = std::numbers::pi * (static_cast<double>(i) + 0.5) / static_cast<double>(length);
        const auto share = static_cast<float>(0.5 - 0.5 * std::cos(phase));
        for (std::size_t c = 0; c < channels; ++c) {
            audio.samples[i * channels + c] *= share;
            audio.samples[(frames - 1 - i) * channels + c] *= share;
        }
    }
}

}  // namespace

void AudioFinish::validate() const {
    if (!std::isfinite(fade_s) || fade_s < 0.0) throw UsageError("the fade must be 0 s or longer");
    if (loudness_lufs && !(*loudness_lufs >= -70.0 && *loudness_lufs <= 0.0))
        throw UsageError("the loudness must be between -70 and 0 LUFS");
}

FinishedAudio finish_audio(Audio audio, const AudioFinish& finish) {
    FinishedAudio finished;
    if (finish.sample_rate_hz) audio = converted(audio, *finish.sample_rate_hz, audio.channels);
    if (finish.fade_s > 0.0) fade_ends(audio, finish.fade_s);
    if (finish.loudness_lufs) {
        const Loudness loudness = measure_loudness(audio);
        if (loudness.integrated_lufs && loudness.true_peak_dbtp) {
            const double wanted = *finish.loudness_lufs - *loudness.integrated_lufs;
            // A clip that is already above the ceiling is not made quieter than asked for.
            const double allowed =
                std::max(kTruePeakCeilingDbtp - *loudness.true_peak_dbtp, std::min(wanted, 0.0));
            finished.gain_db = std::min(wanted, allowed);
            finished.missing_db = wanted - finished.gain_db;
            const auto factor = static_cast<float>(std::pow(10.0, finished.gain_db / 20.0));
            for (float& sample : audio.samples) sample *= factor;
        }
    }
    finished.audio = std::move(audio);
    return finished;
}

}  // namespace musicsteer
