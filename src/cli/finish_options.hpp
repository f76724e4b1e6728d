#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "audio/audio_finish.hpp"

namespace musicsteer::cli {

/// What is done to a clip before it is written.
struct FinishFlags {
    std::optional<std::int64_t> rate_hz;
    std::optional<double> loudness_lufs;
    std::string fade;

    /// @throws UsageError
    AudioFinish finish() const;
};

void add_finish_flags(CLI::App& command, FinishFlags& flags);

/// What was done goes to the clip's record; a gain that true peak did not allow, to the log.
void report_finish(const std::filesystem::path& file, const AudioFinish& finish, const FinishedAudio& clip,
                   nlohmann::json& record);

}  // namespace musicsteer::cli
