#pragma once

#include <optional>

#include "musicsteer/audio_file.hpp"

namespace musicsteer {

struct Loudness {
    /// Integrated loudness in LUFS; nothing if no 400 ms of the signal are louder than -70 LUFS.
    std::optional<double> integrated_lufs;
    /// The largest peak of any channel in dB of full scale, between samples too; nothing in digital silence.
    std::optional<double> true_peak_dbtp;
};

/// By EBU R 128 (ITU-R BS.1770), as libebur128 computes it; peaks on 4 times as many samples (2 times from 96
/// kHz, none from 192 kHz). One channel counts as one loudspeaker, so a mono file is 3 LU below the same
/// signal on two; of more than two channels the order is left, right, centre, LFE (which does not count),
/// surrounds.
/// @throws InputError for more than 64 channels, or a rate outside 16 Hz ... 2.8 MHz
Loudness measure_loudness(const Audio& audio);

}  // namespace musicsteer
