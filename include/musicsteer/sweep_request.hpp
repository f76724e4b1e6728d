#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "musicsteer/setting.hpp"
#include "musicsteer/steering_axes.hpp"

namespace musicsteer {

/// A vector file with axes of its own, which replace the sweep's.
struct SweepVector {
    SteeringSetting setting;  ///< of all its conditions, unless an axis varies it
    SteeringAxes axes;
};

/// A sweep as requested on the command line or in a plan file; make_sweep_plan decides the rest.
struct SweepRequest {
    std::string model;  ///< the bundle's folder
    std::vector<std::string> prompts;
    std::string prompts_file;  ///< read by collect_prompts
    std::int64_t limit = 0;    ///< only the first prompts of the file; 0: all
    std::optional<std::string> negative_prompt;
    std::string melody;                ///< recording that every clip follows; "": none
    std::vector<std::uint64_t> seeds;  ///< default 0
    std::vector<SweepVector> vectors;  ///< none: unsteered clips only
    SteeringAxes axes;                 ///< of every vector without axes of its own

    std::optional<double> duration_s;  ///< default 8
    std::optional<double> guidance_scale;
    std::optional<std::int64_t> top_k;
    std::optional<double> top_p;
    std::optional<double> temperature;
    std::optional<std::string> sample_format;  ///< default pcm16
    std::optional<std::string> tempo_prior;    ///< default 120:1
    bool audio = true;                         ///< false: measures alone, no WAV files
    bool kl = false;                           ///< score each clip's KL divergence from unsteered
    std::optional<std::int64_t> batch_size;    ///< default: by memory
    std::optional<std::int64_t> threads;       ///< default: one for each physical core
    std::optional<std::string> device;         ///< default cpu

    /// Reads a plan file (docs/sweep-plan.schema.json). Relative paths in it are taken from its folder.
    /// @throws InputError naming the place, with a suggestion for an unknown key; @throws UsageError for
    /// malformed ranges
    static SweepRequest load(const std::filesystem::path& path);
    /// @param origin  named in messages  @param folder  where relative paths start
    static SweepRequest parse(const std::string& json, const std::string& origin,
                              const std::filesystem::path& folder);

    /// `prompts`, then those of the file. @throws InputError, UsageError
    std::vector<std::string> collect_prompts() const;
};

}  // namespace musicsteer
