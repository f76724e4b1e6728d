#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "experiments/measure_command.hpp"
#include "experiments/sweep/sweep_folder.hpp"
#include "model/model.hpp"

namespace musicsteer {

struct SweepProgress {
    std::int64_t clips_done = 0;  ///< including earlier ones
    std::int64_t clips_total = 0;
    double begun = 0.0;  ///< fractions of clips being made

    double clips_done_and_begun() const { return static_cast<double>(clips_done) + begun; }
};

struct SweepOptions {
    /// The plan's measure_command, already running; null: it is started if there is something to make.
    MeasureCommand* measure_command = nullptr;
    std::function<void(const SweepProgress&)> on_progress;
    std::function<void(const std::string&)> on_message;  ///< a clip that failed, and why
    std::stop_token stop;
};

/// What is left to do, and its cost.
struct SweepEstimate {
    std::int64_t clips = 0;
    std::int64_t clips_left = 0;
    std::int64_t batches_left = 0;
    std::uint64_t bytes = 0;    ///< of all clips with their records
    double seconds_left = 0.0;  ///< 0 if not measured yet
};

/// @param records  of existing clips, by ID
/// @param seconds_per_clip  0: not measured
SweepEstimate estimate_sweep(const SweepPlan& plan, const Manifest& manifest,
                             const std::map<std::string, std::string>& records, double seconds_per_clip);

/// Makes the missing clips batch by batch, in the plan's order. Every batch has the plan's size and the text
/// length of its prompts, so a clip's bytes do not depend on the others. A clip that fails is left out and
/// listed. The run stops if a whole batch cannot be written.
/// @throws Interrupted; @throws InputError if a vector file changed since the plan was made; @throws
/// ResourceError, ModelError
SweepOutcome run_sweep(const Model& model, SweepFolder& folder, const SweepOptions& options);

}  // namespace musicsteer
