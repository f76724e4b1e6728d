#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "musicsteer/audio_file.hpp"
#include "musicsteer/prompt_set.hpp"
#include "musicsteer/sampling.hpp"
#include "musicsteer/setting.hpp"
#include "musicsteer/sweep_outcome.hpp"
#include "musicsteer/sweep_request.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// Options of every long call.
struct RunOptions {
    std::function<void(double share)> on_progress;  ///< 0 to 1
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;  ///< ends the call with Interrupted
};

struct ClipRequest {
    std::string prompt;
    std::uint64_t seed = 0;
    std::optional<std::string> negative_prompt;  ///< replaces the null prompt in guidance
};

struct GenerateOptions : RunOptions {
    double duration_s = 8.0;
    std::optional<SamplingOptions> sampling;  ///< default: the model's
    std::int64_t batch_size = 0;              ///< clips computed together; 0: by memory, at most 16
    /// Vector files, steering files or directions that the bundle knows by name; applied together.
    std::vector<SteeringSetting> steering;
};

struct ExtractOptions : RunOptions {
    double duration_s = 8.0;
    std::optional<SamplingOptions> sampling;  ///< default: the model's
    std::uint64_t seed = 0;                   ///< prompt i of either side gets seed + i
    std::int64_t limit = 0;                   ///< prompts a side; 0: all
    std::int64_t batch_size = 0;              ///< prompts computed together; 0: by memory, at most 16
    std::string method = "mean-diff";         ///< as in `extract --method`
};

/// A model bundle, loaded and ready to run. Every call throws the types of errors.hpp.
class Pipeline {
  public:
    /// @param bundle  folder that the exporter wrote
    /// @param device  "cpu", "cuda" or "cuda:N"
    /// @param threads  0: one for each physical core
    /// @throws InputError, UsageError, ResourceError
    static Pipeline load(const std::filesystem::path& bundle, const std::string& device = "cpu",
                         int threads = 0);
    Pipeline(Pipeline&&) noexcept;
    Pipeline& operator=(Pipeline&&) noexcept;
    ~Pipeline();

    std::string model_name() const;
    std::int64_t num_layers() const;
    std::int64_t hidden_size() const;  ///< D: the width of the vectors that fit
    std::int64_t sample_rate_hz() const;

    /// One clip. The same request gives the same samples, whatever other requests it is batched with.
    Audio generate(const ClipRequest& request, const GenerateOptions& options = {}) const;
    /// Clips in order; each is passed to `sink` as soon as it is finished.
    void generate(std::span<const ClipRequest> requests, const GenerateOptions& options,
                  const std::function<void(std::size_t index, Audio clip)>& sink) const;

    /// The direction between the two sides of a prompt set, at every layer's residual stream.
    VectorFile extract(const PromptSet& prompts, const ExtractOptions& options = {}) const;

    /// Makes the missing clips of a grid in a folder (docs/formats.md). The request's model is this one.
    SweepOutcome sweep(SweepRequest request, const std::filesystem::path& folder,
                       const RunOptions& options = {}) const;

  private:
    struct Loaded;
    explicit Pipeline(std::unique_ptr<Loaded> loaded);
    std::unique_ptr<Loaded> loaded_;
};

}  // namespace musicsteer
