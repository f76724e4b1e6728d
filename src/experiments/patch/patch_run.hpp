#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "experiments/patch/patch_report.hpp"
#include "model/melody.hpp"

namespace musicsteer {

/// A request to `patch`.
struct PatchRequest {
    PatchMethod method = PatchMethod::kReplace;
    std::vector<PatchClip> clips;  ///< whose codes are not generated yet
    std::string layers = "all";    ///< as parse_layers reads it
    std::vector<Site> sites;
    std::optional<std::string> window;  ///< "0-2", in seconds; default: the whole clip
    double duration_s = 8.0;
    SamplingOptions sampling;
    Melody melody;                ///< that every clip follows, whatever its prompt
    std::int64_t batch_size = 0;  ///< default 16
    std::string device = "cpu";

    /// Checks that need no model. @throws UsageError
    void validate(const Manifest& manifest) const;
};

struct PatchRunOptions {
    /// @param stage  "playing", "patching" or "ablating"; @param clips  done, including fractions
    std::function<void(const std::string& stage, double clips, std::size_t total)> on_progress;
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;
};

/// Generates codes from each source prompt and scores them with every variant's activations replaced.
/// @throws UsageError, ModelError, ResourceError, Interrupted
PatchReport run_patch(const Model& model, PatchRequest request, const PatchRunOptions& options);

}  // namespace musicsteer
