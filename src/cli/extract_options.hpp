#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli.hpp"
#include "directions/direction_methods.hpp"
#include "io/atomic_file.hpp"
#include "model/hooks.hpp"
#include "model_options.hpp"

namespace musicsteer::cli {

/// The options of `musicsteer extract`.
struct ExtractOptions {
    ModelOptions model;
    SamplingFlags sampling;
    std::string out;
    bool force = false;

    std::string method = "mean-diff";
    MethodOptions method_settings;  ///< without the method

    // Where activations come from: prompts, recordings, or a file of them.
    std::string prompts;
    std::string positive;  ///< with `negative`: a file of prompts for each side
    std::string negative;
    std::string positive_audio;
    std::string negative_audio;
    std::string audio;
    std::string like;
    std::string value;  ///< measured on recordings
    std::string tempo_prior;
    std::string concept_name;
    std::optional<std::string> caption;
    std::string melody;
    std::string from_activations;
    std::string save_activations;

    std::int64_t limit = 0;
    std::uint64_t seed = 0;
    std::string site = "resid_post";
    std::string layers = "all";
    std::string positions = "generated";
    std::string rows = "conditional";

    bool from_prompts() const {
        return (!prompts.empty() && like.empty()) || !positive.empty() || !negative.empty();
    }
    bool from_recordings() const {
        return !positive_audio.empty() || !negative_audio.empty() || !audio.empty();
    }
    Overwrite overwrite() const { return force ? Overwrite::kAllow : Overwrite::kRefuse; }
    /// @throws UsageError
    MethodOptions resolved_method() const;
    /// The hook points of --site and --layers. @throws UsageError
    std::vector<HookPoint> points(std::int64_t num_layers) const;
};

void add_extract_options(CLI::App& command, ExtractOptions& options);

/// @throws UsageError if no source or several are given, or a flag that has no effect with the source
void check_extract_flags(const ExtractOptions& options, const CLI::App& command);

}  // namespace musicsteer::cli
