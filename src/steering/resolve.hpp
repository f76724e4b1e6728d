#pragma once

#include <optional>

#include "bundle/manifest.hpp"
#include "generation/injection.hpp"
#include "musicsteer/setting.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// A setting resolved for a model: the injections, and the setting with every default filled in, as in
/// records and IDs. Resolving it again gives the same.
struct ResolvedSteering {
    SteeringPlan plan;
    SteeringSetting setting;
};

/// @param gate  of the setting, with its direction
/// @throws UsageError if the file has no vector at a requested layer or site, or has several sites and none
/// is chosen, if strategy, layers, weights or heads contradict each other, or if alpha is not finite.
ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSetting& setting,
                                  const DecoderDims& dims, const std::optional<Gate>& gate = std::nullopt);

/// [D] bool, true at the numbers of the heads. @throws UsageError for a head that the model lacks
at::Tensor head_mask(const std::vector<std::int64_t>& heads, const DecoderDims& dims);

}  // namespace musicsteer
