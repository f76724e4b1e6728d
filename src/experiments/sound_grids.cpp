#include "experiments/sound_grids.hpp"

#include <nlohmann/json.hpp>

#include "audio/onsets.hpp"
#include "model/codec_pipeline.hpp"

namespace musicsteer {

SoundGrids SoundGrids::of(std::int64_t sample_rate_hz) {
    return {kPieceFrames, onset_hop_length(sample_rate_hz)};
}

nlohmann::json grids_json(const SoundGrids& grids) {
    return {{"codec_frames", grids.codec_frames}, {"onset_hop", grids.onset_hop}};
}

std::string obstacle_of_grids(const SoundGrids& earlier, const SoundGrids& now) {
    if (earlier == now) return "";
    const std::string what = "clips are now decoded in pieces of " + std::to_string(now.codec_frames) +
                             " frames, with onsets measured every " + std::to_string(now.onset_hop) +
                             " samples";
    if (earlier == SoundGrids{}) return "it was begun by an earlier build; " + what;
    return what + "; when it was begun, these were " + std::to_string(earlier.codec_frames) + " and " +
           std::to_string(earlier.onset_hop);
}

}  // namespace musicsteer
