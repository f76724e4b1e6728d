#pragma once

#include <sndfile.h>

#include <span>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// libsndfile's format flags of a WAV.
int libsndfile_format(SampleFormat format);

/// Writes interleaved samples as write_wav says. @return how many libsndfile wrote
sf_count_t write_block(SNDFILE* file, std::span<const float> block, SampleFormat format);

}  // namespace musicsteer
