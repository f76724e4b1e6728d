#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace musicsteer::testing_support {

/// A tensor's numbers in row-major order, so that gmock's matchers compare and print them.
template <typename Number>
std::vector<Number> values(const at::Tensor& tensor) {
    const at::Tensor flat = tensor.contiguous();
    return {flat.data_ptr<Number>(), flat.data_ptr<Number>() + flat.numel()};
}

inline std::vector<float> floats(const at::Tensor& tensor) {
    return values<float>(tensor);
}
inline std::vector<std::int64_t> integers(const at::Tensor& tensor) {
    return values<std::int64_t>(tensor);
}

}  // namespace musicsteer::testing_support
