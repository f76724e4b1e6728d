#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/sweep/sweep_plan.hpp"
#include "model_options.hpp"
#include "musicsteer/sweep_request.hpp"

namespace musicsteer::cli {

/// The options of `musicsteer sweep`, as typed.
struct SweepFlags {
    ModelOptions model;
    SamplingFlags sampling;
    std::string plan;
    std::string out;
    std::vector<std::string> prompts;
    std::string prompts_file;
    std::int64_t limit = 0;
    std::optional<std::string> negative_prompt;
    std::string melody;
    std::string seeds;
    std::vector<std::string> steer;
    std::string alphas;
    std::map<std::string, std::string> axes;  ///< by the setting's key
    std::string format = "pcm16";
    std::string tempo_prior;
    std::string shard;
    std::uint64_t memory = 0;
    std::vector<std::string> merge;
    bool no_audio = false;
    bool kl = false;
    bool dry_run = false;
    bool json = false;
};

void add_sweep_flags(CLI::App& command, SweepFlags& flags);

/// A folder's own plan, if there is one.
std::optional<SweepPlan> stored_plan(const std::string& folder);

/// The plan from the flags: their grid, a plan file's, or that of the folder to resume. Batch size and
/// threads of an existing folder are kept unless they are given.
/// @param bundle  opened here
/// @throws UsageError, InputError, ResourceError
struct PlannedSweep {
    SweepPlan plan;
    Bundle bundle;
};
PlannedSweep plan_sweep(const SweepFlags& flags, const CLI::App& command);

}  // namespace musicsteer::cli
