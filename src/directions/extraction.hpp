#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "directions/activation_file.hpp"
#include "directions/direction_methods.hpp"
#include "directions/extraction_progress.hpp"
#include "directions/pooling_options.hpp"
#include "model/model.hpp"
#include "musicsteer/prompt_set.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {

struct ExtractionOptions : PoolingOptions, ResumeOptions {
    std::uint64_t seed = 0;       ///< prompt i of either side gets seed + i
    std::int64_t limit = 0;       ///< prompts a side; 0 is all
    std::int64_t batch_size = 0;  ///< see ClipRunOptions
    std::function<void(double done, std::int64_t total)> on_progress;  ///< prompts done, including fractions
    std::stop_token stop;
};

/// Generates from the prompts of both sides and keeps one pooled vector for each prompt and hook point.
/// @throws Interrupted, with the progress kept in the progress file; InputError if that file holds other
/// settings; UsageError, ModelError, ResourceError
ActivationFile record_activations(const Model& model, const PromptSet& prompts,
                                  const ExtractionOptions& options);

/// Calls check_usable for an extraction from these prompts, before anything is generated.
void check_usable(const MethodOptions& method, const PromptSet& prompts, std::int64_t limit);

/// Which prompts belong together, and their numbers if every one of the first `limit` (0: all) has one.
PromptRelations prompt_relations(const PromptSet& prompts, std::int64_t limit);

/// Directions at every recorded hook point, with their statistics.
/// @throws InputError; UsageError if the method needs pairs or numbers that are missing; Interrupted
VectorFile compute_directions(const ActivationFile& activations, const MethodOptions& method = {},
                              const std::function<void(std::int64_t done, std::int64_t total)>& on_point = {},
                              const std::stop_token& stop = {});

}  // namespace musicsteer
