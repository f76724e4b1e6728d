#include <ATen/ATen.h>

#include "directions/direction_fits.hpp"

namespace musicsteer {
namespace {

/// [n, n] Euclidean distances; the diagonal is exactly 0.
at::Tensor distances(const at::Tensor& points) {
    const at::Tensor products = points.matmul(points.t());
    const at::Tensor squares = products.diagonal();
    const at::Tensor squared = (squares.unsqueeze(1) + squares.unsqueeze(0) - 2.0 * products).clamp_min(0.0);
    return squared.sqrt().fill_diagonal_(0.0);
}

double median_off_diagonal(const at::Tensor& matrix) {
    const at::Tensor others = at::eye(matrix.size(0), matrix.options()).eq(0.0);
    return matrix.masked_select(others).median().item<double>();
}

}  // namespace

// The metric M = G'G is stored as its factor G [n, D], the gradients of the previous round. Distances under M
// are those of rows G', so nothing of size D x D is needed. Only the ratio of distances to their median
// matters, so the scale of M does not.
at::Tensor rfm_component(const at::Tensor& rows, const at::Tensor& values, const RfmOptions& options) {
    const at::Tensor y = values - values.mean();
    const at::Tensor nothing = at::zeros({rows.size(1)}, at::kDouble);
    if (rows.size(0) < 2) return nothing;
    at::Tensor factor;  // undefined: the identity
    for (std::int64_t i = 0; i < options.iterations; ++i) {
        const at::Tensor points = factor.defined() ? rows.matmul(factor.t()) : rows;
        const at::Tensor distance = distances(points);
        const double scale = median_off_diagonal(distance) * options.bandwidth;
        if (!(scale > 0.0)) return nothing;
        const at::Tensor kernel = (-distance / scale).exp();
        const at::Tensor regularized = kernel.clone();
        regularized.diagonal().add_(options.regularization);
        const at::Tensor weights = at::linalg_solve(regularized, y);

        // d/dz exp(-|z - x| / L) = -k / (L |z - x|) M (z - x); if z is x, there is no gradient.
        constexpr double kSamePlace = 1e-9;
        const at::Tensor apart = distance > kSamePlace * scale;
        const at::Tensor slopes = at::where(apart, -kernel / (scale * distance.clamp_min(kSamePlace * scale)),
                                            at::zeros_like(kernel)) *
                                  weights.unsqueeze(1);                                      // [x, z]
        at::Tensor gradients = slopes.sum(0).unsqueeze(1) * rows - slopes.t().matmul(rows);  // [z, D]
        if (factor.defined()) gradients = gradients.matmul(factor.t()).matmul(factor);
        const double norm = gradients.norm().item<double>();
        if (!(norm > 0.0)) return nothing;
        factor = gradients / norm;
    }
    return first_component(factor);
}

}  // namespace musicsteer
