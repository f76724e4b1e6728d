#include "directions/random_directions.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace musicsteer {

void randomize_directions(std::map<std::string, at::Tensor>& directions, std::uint64_t seed) {
    at::Generator generator = at::detail::createCPUGenerator(seed);
    for (auto& [name, direction] : directions) {
        const at::Tensor draw = at::randn(direction.sizes(), generator, at::TensorOptions(at::kDouble));
        const double norm = direction.to(at::kDouble).norm().item<double>();
        direction = (draw * (norm / draw.norm())).to(at::kFloat);
    }
}

VectorFile matched_random(const VectorFile& vectors, std::uint64_t seed) {
    VectorFile random = vectors;
    random.provenance.method = "random";
    random.provenance.method_settings.clear();
    random.provenance.seed = seed;
    random.provenance.concept_name = "random-" + std::to_string(seed);
    randomize_directions(random.directions, seed);
    for (auto& [name, stats] : random.stats) stats = {stats.norm, stats.mean_residual_norm, 0.0};
    return random;
}

}  // namespace musicsteer
