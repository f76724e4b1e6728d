#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "experiments/sweep/sweep_folder.hpp"

namespace musicsteer {

struct MergeOptions {
    std::function<void(std::int64_t done, std::int64_t total)> on_progress;  ///< in clips
    std::function<void(const std::string&)> on_message;
    std::stop_token stop;
};

/// Copies folders of one plan, or of its shards, into another, in the plan's order. The result is the folder
/// that one process would have made. Each WAV is checked against its record's hash. A merge that was killed
/// is resumed when it is called again.
/// @param target  is created, or left by an earlier merge
/// @return the number of copied clips, and the plan's clips that are in none of the folders
/// @throws UsageError without two folders; @throws InputError if the plans differ in more than the shard, a
/// WAV is missing or damaged, or one ID has different content in two folders; @throws OutputError; @throws
/// Interrupted
SweepOutcome merge_sweeps(const std::vector<std::filesystem::path>& sources,
                          const std::filesystem::path& target, const MergeOptions& options);

}  // namespace musicsteer
