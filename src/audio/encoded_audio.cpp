#include "audio/encoded_audio.hpp"

#include <sndfile.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr sf_count_t kEncodedAtOnce = 1 << 14;

std::string extension_of(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char letter) { return std::tolower(letter); });
    return extension;
}

/// libsndfile's format; 0 if the name has none.
int format_of(const std::string& extension, SampleFormat format) {
    if (extension == ".flac" && format != SampleFormat::kFloat)
        return SF_FORMAT_FLAC | (format == SampleFormat::kPcm24 ? SF_FORMAT_PCM_24 : SF_FORMAT_PCM_16);
    if (format != SampleFormat::kPcm16) return 0;
    if (extension == ".ogg") return SF_FORMAT_OGG | SF_FORMAT_VORBIS;
    if (extension == ".mp3") return SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III;
    return 0;
}

/// The values that a WAV of this format would hold, left-aligned in 32 bits.
std::vector<int> pcm_of(const Audio& audio, SampleFormat format) {
    const Audio written = as_written(audio, format);
    std::vector<int> values(written.samples.size());
    std::transform(written.samples.begin(), written.samples.end(), values.begin(),
                   [](float sample) { return static_cast<int>(static_cast<double>(sample) * 2147483648.0); });
    return values;
}

void write_all(SNDFILE* file, const Audio& audio, SampleFormat format, bool is_lossless) {
    const auto frames = static_cast<sf_count_t>(audio.frames());
    if (is_lossless) {
        const std::vector<int> values = pcm_of(audio, format);
        if (sf_writef_int(file, values.data(), frames) != frames) throw OutputError(sf_strerror(file));
        return;
    }
    // Vorbis encoders take a limited number of frames at a time.
    for (sf_count_t frame = 0; frame < frames; frame += kEncodedAtOnce) {
        const sf_count_t count = std::min(kEncodedAtOnce, frames - frame);
        const float* const samples = audio.samples.data() + frame * audio.channels;
        if (sf_writef_float(file, samples, count) != count) throw OutputError(sf_strerror(file));
    }
}

}  // namespace

bool is_audio_name(const std::filesystem::path& path) {
    return std::find(kAudioExtensions.begin(), kAudioExtensions.end(), extension_of(path)) !=
           kAudioExtensions.end();
}

void check_encoding(const std::filesystem::path& path, SampleFormat format) {
    const std::string extension = extension_of(path);
    if (extension == ".wav") return;
    SF_INFO info{};
    info.samplerate = 48'000;
    info.channels = 1;
    info.format = format_of(extension, format);
    if (info.format == 0) {
        throw UsageError(
            path.string() + ": " +
            (extension == ".flac" ? "FLAC holds pcm16 or pcm24" : "only WAV and FLAC have a --format"));
    }
    if (sf_format_check(&info) == SF_FALSE) {
        throw UsageError(path.string() + ": this libsndfile (" + sf_version_string() + ") cannot write " +
                         extension + " files");
    }
}

void write_audio(const std::filesystem::path& path, const Audio& audio, SampleFormat format,
                 Overwrite overwrite) {
    if (extension_of(path) == ".wav") return write_wav(path, audio, format, overwrite);
    check_encoding(path, format);
    const auto is_finite = [](float sample) { return std::isfinite(sample); };
    if (!std::all_of(audio.samples.begin(), audio.samples.end(), is_finite))
        throw ModelError(path.string() + ": a sample of the audio is not finite");
    AtomicFile target(path, overwrite);
    SF_INFO info{};
    info.samplerate = static_cast<int>(audio.sample_rate_hz);
    info.channels = static_cast<int>(audio.channels);
    info.format = format_of(extension_of(path), format);
    std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(target.temporary().c_str(), SFM_WRITE, &info),
                                                     sf_close);
    try {
        if (!file) throw OutputError(sf_strerror(nullptr));
        write_all(file.get(), audio, format, extension_of(path) == ".flac");
        if (const int error = sf_close(file.release()); error != 0) throw OutputError(sf_error_number(error));
    } catch (const OutputError& error) {
        throw OutputError(path.string() + ": cannot be written: " + error.what());
    }
    target.commit();
}

}  // namespace musicsteer
