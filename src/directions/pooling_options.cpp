#include "directions/pooling_options.hpp"

namespace musicsteer {

Provenance pooling_provenance(const PoolingOptions& options, const Manifest& manifest) {
    Provenance p;
    p.model_name = manifest.model_name;
    p.weights_sha256 = manifest.weights_sha256;
    p.precision = manifest.precision;
    p.melody_sha256 = options.melody.sha256;
    p.positions = options.positions;
    p.rows = to_text(options.rows);
    p.duration_s = options.duration_s;
    p.guidance_scale = options.sampling.guidance_scale;
    p.top_k = options.sampling.top_k;
    p.top_p = options.sampling.top_p;
    p.temperature = options.sampling.temperature;
    p.num_layers = manifest.decoder.num_layers;
    p.hidden_size = manifest.decoder.hidden_size;
    return p;
}

}  // namespace musicsteer
