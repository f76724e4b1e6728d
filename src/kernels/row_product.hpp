#pragma once

// Shared by the linears that use row_products_kernel.hpp.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {

/// One call.
template <class Weight, class Input>
struct RowProduct {
    std::int64_t rows = 0, inputs = 0, outputs = 0;
    const Input* x = nullptr;        ///< [rows, inputs]
    const Weight* weight = nullptr;  ///< [outputs, inputs]
    float* y = nullptr;              ///< [rows, outputs]
};

/// Waking the other threads takes as long as some ten thousand products.
constexpr std::int64_t kWorthAThread = 16384;

/// Calls `part(first, last)` on each thread's share of the outputs.
template <class Product, class Part>
void over_outputs(const Product& product, const Part& part) {
    const std::int64_t products = std::max<std::int64_t>(1, product.rows * product.inputs);
    at::parallel_for(0, product.outputs, std::max<std::int64_t>(1, kWorthAThread / products), part);
}

/// [..., O] for x [..., I] and a weight [O, I]. @throws ModelError for other shapes
inline at::Tensor empty_product(const at::Tensor& x, const at::Tensor& weight, const char* what) {
    if (weight.dim() != 2 || weight.size(1) == 0 || x.dim() < 1 || x.size(-1) != weight.size(1) ||
        x.scalar_type() != at::kFloat || !weight.is_contiguous()) {
        throw ModelError("[" + std::string(what) +
                         "] expected a contiguous weight [O, I] and rows of as many numbers");
    }
    std::vector<std::int64_t> sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    return at::empty(sizes, x.options());
}

}  // namespace musicsteer
