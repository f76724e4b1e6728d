#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "directions/activation_file.hpp"
#include "generation/clip_runner.hpp"

namespace musicsteer {

/// How an extraction that was stopped is resumed.
struct ResumeOptions {
    /// File that keeps finished batches; the caller removes it at the end. Empty: none.
    std::filesystem::path progress_file;
    /// What to do with an unfinished extraction with other settings in that file.
    Overwrite on_other_progress = Overwrite::kRefuse;
    std::string device = "cpu";  ///< the model's; an extraction on another device is not resumed
    std::function<void(const std::string& message)> on_message;
};

/// The finished batches of an extraction, in a file from which the same extraction goes on.
class ExtractionProgress {
  public:
    /// Reads the file, if there is one.
    explicit ExtractionProgress(const ResumeOptions& options);

    /// That the stopped extraction had, or 0: a smaller amount of free memory must not make it start again.
    std::int64_t batch_size() const;
    /// Takes over what was recorded with the same provenance, shape, device and points.
    /// @return pooled clips of both sides, 0 if there are none
    /// @throws OutputError if the file holds an extraction with other settings
    std::size_t resume(ActivationFile& activations, const ExecutionShape& shape,
                       std::span<const HookPoint> points, std::size_t total);
    void save(const ActivationFile& activations) const;

  private:
    void say(const std::string& message) const;

    const ResumeOptions& options_;
    std::optional<ActivationFile> earlier_;
};

}  // namespace musicsteer
