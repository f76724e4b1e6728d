#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace musicsteer {

/// In which steps this program decodes clips and measures them. Another build of the same version may have
/// others, and what both made must not end up in one folder: last bits of audio would differ, and tempos and
/// onset rates would be read at other hops.
struct SoundGrids {
    std::int64_t codec_frames = 0;  ///< of a piece that the codec decodes
    std::int64_t onset_hop = 0;     ///< samples between the frames of onsets and tempo

    static SoundGrids of(std::int64_t sample_rate_hz);
    bool operator==(const SoundGrids&) const = default;
};

/// The key `grids` of plans, studies and calibrations.
nlohmann::json grids_json(const SoundGrids& grids);

/// Why a folder that was begun on other grids cannot be resumed, as a sentence; "" if it can.
/// @param earlier  all 0: the folder does not say
std::string obstacle_of_grids(const SoundGrids& earlier, const SoundGrids& now);

}  // namespace musicsteer
