#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "musicsteer/overwrite.hpp"

namespace musicsteer {

enum class SampleFormat { kPcm16, kPcm24, kFloat };

/// "pcm16", "pcm24", "float". @throws UsageError
SampleFormat parse_sample_format(const std::string& name);

/// 2, 3 or 4.
std::size_t bytes_per_sample(SampleFormat format);

/// Samples, full scale at +-1, interleaved: [N x C].
struct Audio {
    std::vector<float> samples;
    std::int64_t channels = 1;
    std::int64_t sample_rate_hz = 0;

    std::int64_t frames() const {
        return channels > 0 ? static_cast<std::int64_t>(samples.size()) / channels : 0;
    }
    double duration_s() const { return static_cast<double>(frames()) / static_cast<double>(sample_rate_hz); }
};

/// Writes a WAV atomically. The same samples give the same bytes (no PEAK chunk, which holds a time stamp).
/// PCM: sample x 2^(bits - 1), to the nearest step, ties to even, clamped; so read_audio returns values that
/// differ by at most half a step (one step at +1, the end of the scale).
/// @throws OutputError; @throws ModelError if a sample is not finite or the channels don't divide the
/// samples.
void write_wav(const std::filesystem::path& path, const Audio& audio, SampleFormat format,
               Overwrite overwrite);

/// Whether a WAV exists and is as long as its header says. Samples are not read.
bool is_whole_wav(const std::filesystem::path& path);

/// The samples that read_audio returns for a WAV that write_wav made of these.
Audio as_written(const Audio& audio, SampleFormat format);

/// Reads what libsndfile reads (WAV, FLAC, Ogg, MP3, ...); integers are scaled to [-1, 1), floats are
/// unchanged.
/// @throws InputError if the file cannot be read or a sample is not finite.
Audio read_audio(const std::filesystem::path& path);

}  // namespace musicsteer
