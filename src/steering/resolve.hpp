#pragma once

#include <optional>

#include "generation/injection.hpp"
#include "model/manifest.hpp"
#include "musicsteer/setting.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// A setting held to a model: what is injected, and the setting with every default decided, as records and
/// IDs have it. Resolved again, it gives the same.
struct ResolvedSteering {
    SteeringPlan plan;
    SteeringSetting setting;
};

/// @param gate  of the setting, with its direction
/// @throws UsageError if the file has no vector at a layer or site that is asked for, several sites and none
/// chosen, a strategy, layers, weights or heads that contradict, or an alpha that is not finite.
ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSetting& setting,
                                  const DecoderDims& dims, const std::optional<Gate>& gate = std::nullopt);

/// [D] bool, true at the numbers of the heads. @throws UsageError for a head that the model lacks
at::Tensor head_mask(const std::vector<std::int64_t>& heads, const DecoderDims& dims);

}  // namespace musicsteer
