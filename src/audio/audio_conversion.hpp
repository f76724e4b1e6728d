#pragma once

#include <cstdint>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// The same sound at another rate and with another number of channels. Resampled by libsamplerate with its
/// best sinc converter. To one channel: the mean of all. From one channel: the same in each. Otherwise, as
/// from five channels to two, the mean of all in each.
/// @throws InputError if there are no samples, or one rate is more than 256 times the other
Audio converted(const Audio& audio, std::int64_t sample_rate_hz, std::int64_t channels);

}  // namespace musicsteer
