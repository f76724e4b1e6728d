#include <ATen/ATen.h>

#include "directions/direction_fits.hpp"

namespace musicsteer {

at::Tensor first_component(const at::Tensor& rows) {
    // The smaller of the two Gram matrices has the same eigenvalues; eigh gives them in rising order.
    if (rows.size(0) < rows.size(1)) {
        const at::Tensor vectors = std::get<1>(at::linalg_eigh(rows.matmul(rows.t())));
        return normalized(rows.t().matmul(vectors.select(1, -1)));
    }
    if (rows.abs().max().item<double>() == 0.0) return at::zeros({rows.size(1)}, at::kDouble);
    return std::get<1>(at::linalg_eigh(rows.t().matmul(rows))).select(1, -1).contiguous();
}

}  // namespace musicsteer
