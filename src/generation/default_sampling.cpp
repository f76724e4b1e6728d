#include "generation/default_sampling.hpp"

namespace musicsteer {

SamplingOptions default_sampling(const Manifest& manifest) {
    SamplingOptions sampling;
    sampling.guidance_scale = manifest.default_guidance_scale;
    sampling.top_k = manifest.default_top_k;
    sampling.temperature = manifest.default_temperature;
    return sampling;
}

}  // namespace musicsteer
