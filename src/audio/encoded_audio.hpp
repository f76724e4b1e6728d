#pragma once

#include <array>
#include <filesystem>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

inline constexpr std::array<const char*, 4> kAudioExtensions = {".wav", ".flac", ".ogg", ".mp3"};

/// Whether a file of that name would be written as audio: WAV, FLAC, Ogg Vorbis or MP3, by its extension.
bool is_audio_name(const std::filesystem::path& path);

/// @throws UsageError if a file of that name cannot hold samples of that format, or libsndfile cannot write
/// it
void check_encoding(const std::filesystem::path& path, SampleFormat format);

/// As write_wav, in the encoding that the extension names. Ogg files of the same samples differ in their
/// serial number.
/// @throws OutputError, ModelError, UsageError
void write_audio(const std::filesystem::path& path, const Audio& audio, SampleFormat format,
                 Overwrite overwrite);

}  // namespace musicsteer
