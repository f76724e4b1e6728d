#pragma once

#include <array>
#include <filesystem>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

inline constexpr std::array<const char*, 4> kAudioExtensions = {".wav", ".flac", ".ogg", ".mp3"};

/// Whether the name's extension is that of an audio format: WAV, FLAC, Ogg Vorbis or MP3.
bool is_audio_name(const std::filesystem::path& path);

/// @throws UsageError if that file format cannot hold these samples, or libsndfile cannot write it
void check_encoding(const std::filesystem::path& path, SampleFormat format);

/// Like write_wav, in the format of the extension. Ogg files of the same samples differ in their serial
/// number.
/// @throws OutputError, ModelError, UsageError
void write_audio(const std::filesystem::path& path, const Audio& audio, SampleFormat format,
                 Overwrite overwrite);

}  // namespace musicsteer
