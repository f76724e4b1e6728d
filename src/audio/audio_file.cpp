#include "musicsteer/audio_file.hpp"

#include <sndfile.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>

#include "audio/sample_writing.hpp"
#include "io/atomic_file.hpp"
#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using SoundFile = std::unique_ptr<SNDFILE, decltype(&sf_close)>;

constexpr std::size_t kFramesAtOnce = 16'384;

void check_audio(const std::filesystem::path& path, const Audio& audio, SampleFormat format) {
    constexpr std::size_t kMaxBytes = 4'294'000'000;  // sizes in a WAV have 32 bits
    constexpr std::int64_t kMaxChannels = 1024;       // libsndfile's limit
    const std::string where = path.string() + ": ";
    if (audio.channels < 1 || audio.channels > kMaxChannels || audio.sample_rate_hz < 1 ||
        audio.sample_rate_hz > std::numeric_limits<int>::max() ||
        audio.samples.size() % static_cast<std::size_t>(audio.channels) != 0) {
        throw ModelError(where + "no audio: " + std::to_string(audio.samples.size()) + " samples in " +
                         std::to_string(audio.channels) + " channels at " +
                         std::to_string(audio.sample_rate_hz) + " Hz");
    }
    for (std::size_t i = 0; i < audio.samples.size(); ++i) {
        if (std::isfinite(audio.samples[i])) continue;
        throw ModelError(where + "sample " + std::to_string(i) + " of the audio is not finite");
    }
    if (audio.samples.size() > kMaxBytes / bytes_per_sample(format)) {
        throw OutputError(where + "longer than the 4 GB that a WAV file can hold");
    }
}

int bits_of(SampleFormat pcm) {
    return pcm == SampleFormat::kPcm16 ? 16 : 24;
}

// Rounds to the nearest of 2^bits steps, ties to even, on the scale of libsndfile's reader. +1, which has no
// step of its own, becomes the highest step.
double pcm_step(float sample, int bits) {
    const double steps = static_cast<double>(std::int64_t{1} << (bits - 1));
    return std::clamp(std::nearbyint(static_cast<double>(sample) * steps), -steps, steps - 1);
}

// Left-aligned in 32 bits, as libsndfile expects all integers.
int to_pcm(float sample, int bits) {
    return static_cast<int>(static_cast<std::int64_t>(pcm_step(sample, bits)) *
                            (std::int64_t{1} << (32 - bits)));
}

[[noreturn]] void fail_to_write(const std::filesystem::path& path, const std::string& reason) {
    throw OutputError(path.string() + ": cannot be written: " + reason);
}

void write_samples(const std::filesystem::path& target, const std::filesystem::path& temporary,
                   const Audio& audio, SampleFormat format) {
    SF_INFO info{};
    info.samplerate = static_cast<int>(audio.sample_rate_hz);
    info.channels = static_cast<int>(audio.channels);
    info.format = libsndfile_format(format);
    SoundFile file(sf_open(temporary.c_str(), SFM_WRITE, &info), sf_close);
    if (!file) fail_to_write(target, sf_strerror(nullptr));
    sf_command(file.get(), SFC_SET_ADD_PEAK_CHUNK, nullptr, SF_FALSE);
    const std::size_t block_samples = kFramesAtOnce * static_cast<std::size_t>(audio.channels);
    for (std::size_t start = 0; start < audio.samples.size(); start += block_samples) {
        const auto block =
            std::span(audio.samples).subspan(start, std::min(block_samples, audio.samples.size() - start));
        if (write_block(file.get(), block, format) != std::ssize(block))
            fail_to_write(target, sf_strerror(file.get()));
    }
    if (sf_error(file.get()) != SF_ERR_NO_ERROR) fail_to_write(target, sf_strerror(file.get()));
    if (const int error = sf_close(file.release()); error != 0) fail_to_write(target, sf_error_number(error));
}

// libsndfile does not report every failure to write its header, so check the size.
void check_size(const std::filesystem::path& target, const AtomicFile& file, const Audio& audio,
                SampleFormat format) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file.temporary(), error)) return;
    const std::uintmax_t bytes = std::filesystem::file_size(file.temporary(), error);
    if (error) fail_to_write(target, error.message());
    if (bytes < audio.samples.size() * bytes_per_sample(format))
        fail_to_write(target, "the written file is too short");
}

std::uint64_t little_endian(std::string_view bytes) {
    std::uint32_t number = 0;  // processors that LibTorch runs on are little-endian
    std::memcpy(&number, bytes.data(), sizeof number);
    return number;
}

/// libsndfile reads what is left of a WAV that was cut off, without a word. @throws InputError
void refuse_truncated_wav(const InputFile& file) {
    constexpr std::uint64_t kRiffHead = 12, kChunkHead = 8;
    constexpr std::uint64_t kUnknownLength = 0x7FFFF000;  // and above: written to a pipe (sox, ffmpeg, ours)
    constexpr int kMostChunks = 1000;
    std::array<char, kRiffHead> bytes{};
    if (file.size() < kRiffHead) return;  // a pipe, or for libsndfile to refuse
    file.read_at(0, bytes);
    const std::string_view head(bytes.data(), bytes.size());
    if (!head.starts_with("RIFF") || !head.ends_with("WAVE")) return;
    std::uint64_t at = kRiffHead;
    for (int chunk = 0; chunk < kMostChunks && at + kChunkHead <= file.size(); ++chunk) {
        file.read_at(at, std::span(bytes).first(kChunkHead));
        const std::uint64_t length = little_endian(head.substr(4, 4));
        const std::uint64_t found = file.size() - at - kChunkHead;
        if (head.starts_with("data")) {
            if (length <= found || length >= kUnknownLength) return;
            throw InputError(file.path().string() + ": truncated: its header announces " +
                             std::to_string(length) + " bytes of samples, and " + std::to_string(found) +
                             " follow; copy it again, or save what is left as a new file");
        }
        at += kChunkHead + length + length % 2;
    }
}

}  // namespace

int libsndfile_format(SampleFormat format) {
    switch (format) {
        case SampleFormat::kPcm16:
            return SF_FORMAT_WAV | SF_FORMAT_PCM_16;
        case SampleFormat::kPcm24:
            return SF_FORMAT_WAV | SF_FORMAT_PCM_24;
        case SampleFormat::kFloat:
            break;
    }
    return SF_FORMAT_WAV | SF_FORMAT_FLOAT;
}

sf_count_t write_block(SNDFILE* file, std::span<const float> block, SampleFormat format) {
    const auto count = static_cast<sf_count_t>(block.size());
    if (format == SampleFormat::kFloat) return sf_write_float(file, block.data(), count);
    const int bits = bits_of(format);
    std::vector<int> values(block.size());
    std::transform(block.begin(), block.end(), values.begin(),
                   [bits](float sample) { return to_pcm(sample, bits); });
    return sf_write_int(file, values.data(), count);
}

SampleFormat parse_sample_format(const std::string& name) {
    static const std::vector<std::string> kNames = {"pcm16", "pcm24", "float"};
    if (name == "pcm16") return SampleFormat::kPcm16;
    if (name == "pcm24") return SampleFormat::kPcm24;
    if (name == "float") return SampleFormat::kFloat;
    throw UsageError("sample format: expected pcm16, pcm24 or float, found " + in_quotes(name) +
                     did_you_mean(name, kNames));
}

std::size_t bytes_per_sample(SampleFormat format) {
    return format == SampleFormat::kPcm16 ? 2 : format == SampleFormat::kPcm24 ? 3 : 4;
}

void write_wav(const std::filesystem::path& path, const Audio& audio, SampleFormat format,
               Overwrite overwrite) {
    check_audio(path, audio, format);
    AtomicFile file(path, overwrite);
    write_samples(path, file.temporary(), audio, format);
    check_size(path, file, audio, format);
    file.commit();
}

bool is_whole_wav(const std::filesystem::path& path) {
    constexpr std::uint64_t kNotCounted = 8;  // "RIFF" and the size itself
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    if (error || bytes < kNotCounted) return false;
    std::array<unsigned char, kNotCounted> head{};
    const InputFile file(path);
    file.read_at(0, {reinterpret_cast<char*>(head.data()), head.size()});
    const std::uint64_t size = head[4] | head[5] << 8 | head[6] << 16 | std::uint64_t{head[7]} << 24;
    return std::equal(head.begin(), head.begin() + 4, "RIFF") && bytes >= kNotCounted + size;
}

Audio as_written(const Audio& audio, SampleFormat format) {
    Audio written = audio;
    if (format == SampleFormat::kFloat) return written;
    const int bits = bits_of(format);
    const double steps = static_cast<double>(std::int64_t{1} << (bits - 1));
    for (float& sample : written.samples) sample = static_cast<float>(pcm_step(sample, bits) / steps);
    return written;
}

Audio read_audio(const std::filesystem::path& path) {
    refuse_truncated_wav(InputFile(path));  // whose error messages say more than libsndfile's
    SF_INFO info{};
    const SoundFile file(sf_open(path.c_str(), SFM_READ, &info), sf_close);
    if (!file) throw InputError(path.string() + ": cannot be read as audio: " + sf_strerror(nullptr));
    Audio audio;
    audio.channels = info.channels;
    audio.sample_rate_hz = info.samplerate;
    // The header's number of frames is not trusted: blocks are read until the file ends.
    std::vector<float> block(kFramesAtOnce * static_cast<std::size_t>(info.channels));
    sf_count_t count = 0;
    while ((count = sf_read_float(file.get(), block.data(), std::ssize(block))) > 0) {
        audio.samples.insert(audio.samples.end(), block.begin(), block.begin() + count);
    }
    if (sf_error(file.get()) != SF_ERR_NO_ERROR) {
        throw InputError(path.string() + ": cannot be read as audio: " + sf_strerror(file.get()));
    }
    if (!std::all_of(audio.samples.begin(), audio.samples.end(),
                     [](float sample) { return std::isfinite(sample); })) {
        throw InputError(path.string() + ": holds samples that are not finite");
    }
    return audio;
}

}  // namespace musicsteer
