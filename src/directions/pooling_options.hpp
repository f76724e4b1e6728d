#pragma once

#include <string>
#include <vector>

#include "directions/provenance.hpp"
#include "generation/activations.hpp"
#include "generation/sampler.hpp"
#include "model/manifest.hpp"
#include "model/melody.hpp"

namespace musicsteer {

/// What is read of a clip and pooled, whether the model plays it or hears it.
struct PoolingOptions {
    std::vector<HookPoint> points;
    double duration_s = 8.0;
    std::string positions = "generated";  ///< see parse_positions
    RecordedRows rows = RecordedRows::kConditional;
    Melody melody;             ///< that every clip follows
    SamplingOptions sampling;  ///< of recordings only whether there is guidance: nothing is drawn
};

/// What these options and the model say of where a direction comes from; the rest is left empty.
Provenance pooling_provenance(const PoolingOptions& options, const Manifest& manifest);

}  // namespace musicsteer
