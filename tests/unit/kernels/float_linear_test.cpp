#include "kernels/float_linear.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

class FloatLinear : public testing::TestWithParam<at::ScalarType> {
  protected:
    at::Tensor weight(std::int64_t outputs, std::int64_t inputs) const {
        return at::randn({outputs, inputs}).to(GetParam());
    }
};

/// Largest error, in units of what a float32 sum of that many products may err by.
double error(const at::Tensor& x, const at::Tensor& weight) {
    const at::Tensor exact = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
    const at::Tensor sizes = at::matmul(x.abs().to(at::kDouble), weight.abs().to(at::kDouble).t());
    return ((float_linear(x, weight) - exact).abs() / sizes).max().item<double>() /
           std::numeric_limits<float>::epsilon();
}

TEST_P(FloatLinear, EqualsFloat64) {
    at::manual_seed(1);
    for (const auto& [inputs, outputs] : {std::pair<std::int64_t, std::int64_t>{64, 4},
                                          {192, 768},
                                          {1024, 257},
                                          {45, 77},
                                          {1, 1},
                                          {15, 3},
                                          {33, 5},
                                          {8192, 9}}) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 8, 33})
            EXPECT_LT(error(at::randn({rows, inputs}), weight(outputs, inputs)), 4)
                << rows << " x " << inputs << " -> " << outputs;
    }
}

TEST_P(FloatLinear, RowsAreIndependentOfCompanionsAndThreads) {
    at::manual_seed(2);
    const at::Tensor x = at::randn({7, 321});
    const at::Tensor w = weight(100, 321);
    const int threads = at::get_num_threads();
    const at::Tensor together = float_linear(x, w);
    at::set_num_threads(1);
    EXPECT_TRUE(at::equal(float_linear(x, w), together));
    at::set_num_threads(threads);
    for (std::int64_t row = 0; row < 7; ++row)
        EXPECT_TRUE(at::equal(float_linear(x.narrow(0, row, 1), w), together.narrow(0, row, 1))) << row;
}

TEST_P(FloatLinear, WhatIsNotFiniteStaysInItsRow) {
    at::manual_seed(3);
    at::Tensor x = at::randn({3, 101});
    const at::Tensor w = weight(20, 101);
    const at::Tensor before = float_linear(x, w);
    x[1][100] = std::numeric_limits<float>::quiet_NaN();
    const at::Tensor y = float_linear(x, w);
    EXPECT_TRUE(y[1].isnan().all().item<bool>());
    EXPECT_TRUE(at::equal(y[0], before[0]));
    EXPECT_TRUE(at::equal(y[2], before[2]));
}

TEST_P(FloatLinear, ShapesAndStrides) {
    at::manual_seed(4);
    const at::Tensor x = at::randn({4, 70});
    const at::Tensor w = weight(10, 70);
    EXPECT_EQ(float_linear(x.view({2, 2, 70}), w).sizes(), (at::IntArrayRef{2, 2, 10}));
    EXPECT_TRUE(at::equal(float_linear(at::stack({x, x}, 2).select(2, 1), w), float_linear(x, w)));
    EXPECT_THROW(float_linear(at::zeros({2, 71}), w), ModelError);
    EXPECT_THROW(float_linear(x.to(at::kDouble), w), ModelError);
    EXPECT_THROW(float_linear(x, w.to(at::kDouble)), ModelError);
    EXPECT_THROW(float_linear(x.t(), weight(4, 8).t()), ModelError);
}

INSTANTIATE_TEST_SUITE_P(Weights, FloatLinear, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

}  // namespace
}  // namespace musicsteer
