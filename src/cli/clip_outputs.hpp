#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/audio_finish.hpp"
#include "experiments/clip_record.hpp"
#include "generation/generation_session.hpp"
#include "io/record_log.hpp"

namespace musicsteer::cli {

/// Flags about the clips themselves.
struct ClipFlags {
    std::vector<std::string> prompts;
    std::string prompts_file;
    std::optional<std::string> negative_prompt;
    bool unconditional = false;
    std::vector<std::string> seeds;
    bool with_baseline = false;  ///< each clip is followed by its unsteered version
};

/// Every prompt with every seed: one request for each clip, without steering; twice with a baseline.
/// @throws UsageError, InputError
std::vector<SessionRequest> expand_clips(const ClipFlags& flags);

/// Finishing of a clip before it is written.
struct FinishFlags {
    std::optional<std::int64_t> rate_hz;
    std::optional<double> loudness_lufs;
    std::string fade;

    /// @throws UsageError
    AudioFinish finish() const;
};

void add_finish_flags(CLI::App& command, FinishFlags& flags);

/// Adds the finishing to the clip's record; logs a gain that true peak did not allow.
void report_finish(const std::filesystem::path& file, const AudioFinish& finish, const FinishedAudio& clip,
                   nlohmann::json& record);

/// Writes clips, their records and their steering: one WAV with a JSON beside it, or a folder of WAVs with
/// clips.jsonl. With a baseline, every second request is the unsteered twin of the one before.
class ClipFiles {
  public:
    /// Checks, before anything runs, that everything can be written. @throws OutputError, UsageError
    /// @param inputs  files that must not be replaced
    /// @param strength  part of the file names of several steered clips
    ClipFiles(const std::string& out, const std::vector<SessionRequest>& requests, bool with_baseline,
              bool force, std::span<const std::string> inputs, const std::string& strength);

    /// Whether one of the files is that one.
    bool holds(const std::filesystem::path& path) const;
    std::filesystem::path wav(std::size_t index) const;
    /// Stores the record of a finished clip (a JSON object on one line).
    void record(std::size_t index, const std::string& json_line);
    /// Writes the steering file of all clips, or removes an old one if they are not steered.
    void steering(const ClipSettings& settings, const std::vector<SteeringSetting>& steering,
                  const std::vector<SteeringSection>& sections) const;

  private:
    std::filesystem::path steering_file() const;
    std::vector<std::filesystem::path> all() const;

    bool is_folder_;
    std::filesystem::path out_;
    std::vector<std::filesystem::path> wavs_;
    Overwrite overwrite_;
    std::unique_ptr<RecordLog> log_;  ///< clips.jsonl, once it has a line
};

}  // namespace musicsteer::cli
