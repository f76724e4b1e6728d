#pragma once

#include <sndfile.h>

#include <span>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// A WAV's, in libsndfile's bits.
int libsndfile_format(SampleFormat format);

/// Writes interleaved samples as write_wav says. @return how many libsndfile took
sf_count_t write_block(SNDFILE* file, std::span<const float> block, SampleFormat format);

}  // namespace musicsteer
