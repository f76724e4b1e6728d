#include "kernels/int8_linear.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Int8Linear of src/python/musicsteer/torchscript/precision.py: whole numbers in float64, which holds them
/// exactly.
at::Tensor reference(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
    const at::Tensor largest = std::get<0>(x.abs().max(-1, true)).clamp_min(1e-30);
    const at::Tensor whole = at::round(x * (at::full_like(largest, 32767.0) / largest));
    const at::Tensor sums = at::matmul(whole.to(at::kDouble), weight.to(at::kDouble).t()).to(at::kFloat);
    return sums * scale * (largest / 32767.0);
}

struct Case {
    at::Tensor x, weight, scale;

    Case(std::int64_t rows, std::int64_t inputs, std::int64_t outputs) {
        at::manual_seed(rows * 1000 + inputs + outputs);
        x = at::randn({rows, inputs});
        weight = at::randint(-127, 128, {outputs, inputs}, at::kChar);
        scale = at::rand({outputs}) + 0.01;
    }
    at::Tensor product() const { return int8_linear(x, weight, scale); }
};

TEST(Int8Linear, EqualsWholeNumbersInFloat64) {
    for (const auto& [inputs, outputs] : {std::pair{64, 4},
                                          {192, 768},
                                          {1024, 257},
                                          {45, 77},
                                          {1, 1},
                                          {63, 3},
                                          {65, 5},
                                          {2048, 6},
                                          {8192, 9}}) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 8, 33}) {
            const Case c(rows, inputs, outputs);
            EXPECT_TRUE(at::equal(c.product(), reference(c.x, c.weight, c.scale)))
                << rows << " x " << inputs << " -> " << outputs;
        }
    }
}

TEST(Int8Linear, LargestValuesDoNotOverflow) {
    for (const float sign : {1.0F, -1.0F}) {
        const at::Tensor weight = at::full({3, 8192}, sign > 0 ? 127 : -127, at::kChar);
        const at::Tensor y = int8_linear(at::ones({5, 8192}), weight, at::full({3}, 1.0F / 127));
        EXPECT_TRUE(at::allclose(y, at::full({5, 3}, sign * 8192), 1e-6));
    }
}

TEST(Int8Linear, RowsAreIndependentOfCompanionsAndThreads) {
    const Case c(7, 320, 100);
    const int threads = at::get_num_threads();
    const at::Tensor together = c.product();
    at::set_num_threads(1);
    EXPECT_TRUE(at::equal(c.product(), together));
    at::set_num_threads(threads);
    for (std::int64_t row = 0; row < 7; ++row) {
        const at::Tensor alone = int8_linear(c.x.narrow(0, row, 1), c.weight, c.scale);
        EXPECT_TRUE(at::equal(alone, together.narrow(0, row, 1))) << row;
    }
}

TEST(Int8Linear, WhatIsNotFiniteStaysInItsRow) {
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        for (const std::int64_t place : {0, 100}) {  // in a whole vector, and after the last
            Case c(3, 101, 20);
            const at::Tensor before = c.product();
            c.x[1][place] = value;
            const at::Tensor y = c.product();
            EXPECT_TRUE(y[1].isnan().all().item<bool>());
            EXPECT_TRUE(at::equal(y[0], before[0]));
            EXPECT_TRUE(at::equal(y[2], before[2]));
        }
    }
}

TEST(Int8Linear, ZerosTinyValuesAndShapes) {
    const Case c(4, 70, 10);
    EXPECT_TRUE(at::equal(int8_linear(at::zeros({2, 70}), c.weight, c.scale), at::zeros({2, 10})));
    const at::Tensor tiny = c.x * 1e-38;
    EXPECT_TRUE(at::equal(int8_linear(tiny, c.weight, c.scale), reference(tiny, c.weight, c.scale)));
    EXPECT_EQ(int8_linear(c.x.view({2, 2, 70}), c.weight, c.scale).sizes(), (at::IntArrayRef{2, 2, 10}));
    EXPECT_TRUE(
        at::equal(int8_linear(at::stack({c.x, c.x}, 2).select(2, 1), c.weight, c.scale), c.product()));
    EXPECT_THROW(int8_linear(at::zeros({2, 71}), c.weight, c.scale), ModelError);
    EXPECT_THROW(int8_linear(c.x, c.weight.to(at::kFloat), c.scale), ModelError);
    EXPECT_THROW(int8_linear(c.x, c.weight, at::stack({c.scale, c.scale}, 1).select(1, 0)), ModelError);
    EXPECT_THROW(int8_linear(c.x, c.weight.flatten(), c.scale), ModelError);
    EXPECT_THROW(int8_linear(c.x.narrow(1, 0, 0), c.weight.narrow(1, 0, 0), c.scale), ModelError);
}

}  // namespace
}  // namespace musicsteer
