#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

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

/// Normal numbers, [rows, columns] float64.
inline at::Tensor noise(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    const at::Generator generator = at::detail::createCPUGenerator(seed);
    return at::randn({rows, columns}, generator, at::TensorOptions(at::kDouble));
}

inline double cosine(const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    return (x.dot(y) / (x.norm() * y.norm())).item<double>();
}

}  // namespace musicsteer::testing_support
