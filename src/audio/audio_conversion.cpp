#include "audio/audio_conversion.hpp"

#include <samplerate.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

Audio with_channels(const Audio& audio, std::int64_t channels) {
    if (audio.channels == channels) return audio;
    Audio result{{}, channels, audio.sample_rate_hz};
    const auto from = static_cast<std::size_t>(audio.channels), to = static_cast<std::size_t>(channels);
    result.samples.reserve(audio.samples.size() / from * to);
    for (std::size_t start = 0; start + from <= audio.samples.size(); start += from) {
        double sum = 0.0;
        for (std::size_t c = 0; c < from; ++c) sum += static_cast<double>(audio.samples[start + c]);
        result.samples.insert(result.samples.end(), to, static_cast<float>(sum / static_cast<double>(from)));
    }
    return result;
}

Audio at_rate(const Audio& audio, std::int64_t sample_rate_hz) {
    if (audio.sample_rate_hz == sample_rate_hz) return audio;
    const double ratio = static_cast<double>(sample_rate_hz) / static_cast<double>(audio.sample_rate_hz);
    if (!src_is_valid_ratio(ratio)) {
        throw InputError("audio at " + std::to_string(audio.sample_rate_hz) + " Hz cannot be resampled to " +
                         std::to_string(sample_rate_hz) + " Hz");
    }
    const auto frames = static_cast<std::int64_t>(std::llround(static_cast<double>(audio.frames()) * ratio));
    Audio result{{}, audio.channels, sample_rate_hz};
    result.samples.resize(static_cast<std::size_t>(frames * audio.channels));
    SRC_DATA data{};
    data.data_in = audio.samples.data();
    data.input_frames = audio.frames();
    data.data_out = result.samples.data();
    data.output_frames = frames;
    data.src_ratio = ratio;
    const int error = src_simple(&data, SRC_SINC_BEST_QUALITY, static_cast<int>(audio.channels));
    if (error != 0) throw InputError(std::string("audio cannot be resampled: ") + src_strerror(error));
    result.samples.resize(static_cast<std::size_t>(data.output_frames_gen * audio.channels));
    return result;
}

}  // namespace

Audio converted(const Audio& audio, std::int64_t sample_rate_hz, std::int64_t channels) {
    if (audio.frames() < 1 || audio.sample_rate_hz < 1) throw InputError("there is no sound in it");
    // Fewer channels first: resampling is the expensive part.
    if (channels <= audio.channels) return at_rate(with_channels(audio, channels), sample_rate_hz);
    return with_channels(at_rate(audio, sample_rate_hz), channels);
}

}  // namespace musicsteer
