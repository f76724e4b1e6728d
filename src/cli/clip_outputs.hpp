#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/clip_record.hpp"
#include "generation/generation_session.hpp"
#include "io/record_log.hpp"

namespace musicsteer::cli {

/// What is said about the clips themselves.
struct ClipFlags {
    std::vector<std::string> prompts;
    std::string prompts_file;
    std::optional<std::string> negative_prompt;
    bool unconditional = false;
    std::vector<std::string> seeds;
    bool with_baseline = false;  ///< each clip is followed by the same one without steering
};

/// Every prompt with every seed: one request a clip, without steering; with a baseline each twice.
/// @throws UsageError, InputError
std::vector<SessionRequest> expand_clips(const ClipFlags& flags);

/// Where clips and their records go: one WAV with a JSON beside it, or a folder of WAVs with clips.jsonl; and
/// how they were steered. With a baseline, every second request is the unsteered twin of the one before.
class ClipFiles {
  public:
    /// Checks, before anything runs, that it can all be written. @throws OutputError, UsageError
    /// @param inputs  files that must stay as they are
    ClipFiles(const std::string& out, const std::vector<SessionRequest>& requests, bool with_baseline,
              bool force, std::span<const std::string> inputs);

    /// Whether one of the files is that one.
    bool holds(const std::filesystem::path& path) const;
    std::filesystem::path wav(std::size_t index) const;
    /// Stores the record of a finished clip (a JSON object on one line).
    void record(std::size_t index, const std::string& json_line);
    /// What all clips are steered with goes beside them; nothing stays there if they are not.
    void steering(const ClipSettings& settings, const std::vector<SteeringSetting>& steering) const;

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
