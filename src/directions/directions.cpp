#include "directions/directions.hpp"

#include <ATen/ATen.h>

#include "base/shapes.hpp"
#include "directions/direction_statistics.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

void check_side(const PooledSide& side, const char* name) {
    if (!side.means.defined() || side.means.size(0) == 0) {
        throw InputError(std::string("the ") + name + " side holds no activations");
    }
    check_shape(side.means, {kAnySize, kAnySize}, "directions means");
    check_shape(side.mean_norms, {side.means.size(0)}, "directions mean norms");
    if (!side.means.isfinite().all().item<bool>() || !side.mean_norms.isfinite().all().item<bool>()) {
        throw InputError(std::string("an activation of the ") + name + " side is not finite");
    }
}

}  // namespace

void PooledSide::append(const at::Tensor& more_means, const at::Tensor& more_norms) {
    means = means.defined() ? at::cat({means, more_means}) : more_means;
    mean_norms = mean_norms.defined() ? at::cat({mean_norms, more_norms}) : more_norms;
}

Direction difference_in_means(const PooledSide& positive, const PooledSide& negative) {
    check_side(positive, "positive");
    check_side(negative, "negative");
    if (positive.means.size(1) != negative.means.size(1)) {
        throw InputError("the positive side is " + std::to_string(positive.means.size(1)) +
                         " wide, the negative side " + std::to_string(negative.means.size(1)));
    }
    const at::Tensor high = positive.means.to(at::kDouble);
    const at::Tensor low = negative.means.to(at::kDouble);
    const at::Tensor vector = high.mean(0) - low.mean(0);

    Direction direction;
    direction.vector = vector.to(at::kFloat);
    direction.stats.norm = vector.norm().item<double>();
    direction.stats.mean_residual_norm =
        at::cat({positive.mean_norms, negative.mean_norms}).to(at::kDouble).mean().item<double>();
    direction.stats.effect_size = cohens_d(high.matmul(vector), low.matmul(vector));
    return direction;
}

}  // namespace musicsteer
