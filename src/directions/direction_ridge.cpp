#include <ATen/ATen.h>

#include "directions/direction_fits.hpp"

namespace musicsteer {

at::Tensor ridge_weights(const at::Tensor& rows, const at::Tensor& values, double regularization) {
    const at::Tensor x = centred_and_scaled(rows);
    const at::Tensor y = values - values.mean();
    if (x.size(0) < x.size(1)) {
        const at::Tensor gram = x.matmul(x.t());
        gram.diagonal().add_(regularization);
        return x.t().matmul(at::linalg_solve(gram, y));
    }
    const at::Tensor covariance = x.t().matmul(x);
    covariance.diagonal().add_(regularization);
    return at::linalg_solve(covariance, x.t().matmul(y));
}

}  // namespace musicsteer
