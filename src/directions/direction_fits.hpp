#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace musicsteer {

// The linear algebra of direction_methods.hpp, each in direction_NAME.cpp. Everything is float64 and
// independent of the axes and the origin of the rows.

/// First principal component: unit length, of either sign; zeros if all rows are zero.
/// @param rows  [n, D], used as they are; subtract their mean first if you want to
/// @return [D]
at::Tensor first_component(const at::Tensor& rows);

/// Weights that minimise sum log(1 + exp(-y (x w + b))) + regularization / 2 |w|^2, where x are the centred
/// rows divided by their root mean square length.
/// @param rows  [n, D]; at least one of each label @param labels  [n], 1 or -1
/// @return [D]
at::Tensor logistic_weights(const at::Tensor& rows, const at::Tensor& labels, double regularization);

/// Weights that minimise sum (y - x w - b)^2 + regularization |w|^2, x as for logistic_weights.
/// @param rows  [n, D] @param values  [n]
/// @return [D]
at::Tensor ridge_weights(const at::Tensor& rows, const at::Tensor& values, double regularization);

struct RfmOptions {
    double regularization = 0.0;
    double bandwidth = 0.0;  ///< in median distances
    std::int64_t iterations = 0;
};

/// Recursive feature machine (Radhakrishnan et al., Science 2024) with a Laplace kernel: kernel regression,
/// then the average outer product of its gradients (AGOP) becomes the metric of the next round's kernel.
/// @param rows  [n, D] @param values  [n]
/// @return [D], the top eigenvector of the last AGOP: unit length, of either sign; zeros without a gradient
at::Tensor rfm_component(const at::Tensor& rows, const at::Tensor& values, const RfmOptions& options);

/// Centred rows divided by their root mean square length, if that is not zero.
at::Tensor centred_and_scaled(const at::Tensor& rows);

/// vector / norm, or zeros.
at::Tensor normalized(const at::Tensor& vector);

}  // namespace musicsteer
