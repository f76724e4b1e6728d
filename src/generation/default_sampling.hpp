#pragma once

#include "bundle/manifest.hpp"
#include "musicsteer/sampling.hpp"

namespace musicsteer {

/// A model's default sampling options.
SamplingOptions default_sampling(const Manifest& manifest);

}  // namespace musicsteer
