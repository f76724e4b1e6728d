#pragma once

#include "model/manifest.hpp"
#include "musicsteer/sampling.hpp"

namespace musicsteer {

/// How a model draws tokens unless something else is asked for.
SamplingOptions default_sampling(const Manifest& manifest);

}  // namespace musicsteer
