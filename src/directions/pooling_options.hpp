#pragma once

#include <string>
#include <vector>

#include "bundle/manifest.hpp"
#include "directions/provenance.hpp"
#include "generation/activations.hpp"
#include "generation/sampler.hpp"
#include "model/melody.hpp"

namespace musicsteer {

/// What is read from a clip and pooled, whether the model generates or hears it.
struct PoolingOptions {
    std::vector<HookPoint> points;
    double duration_s = 8.0;
    std::string positions = "generated";  ///< see parse_positions
    RecordedRows rows = RecordedRows::kConditional;
    Melody melody;             ///< that every clip follows
    SamplingOptions sampling;  ///< for recordings only guidance matters, since nothing is drawn
};

/// The provenance that follows from these options and the model; other fields are empty.
Provenance pooling_provenance(const PoolingOptions& options, const Manifest& manifest);

}  // namespace musicsteer
