#include "kernels/lstm.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

struct Weights {
    at::Tensor ih, hh, bias_ih, bias_hh;

    explicit Weights(std::int64_t width, at::ScalarType type = at::kFloat) {
        at::manual_seed(width);
        const auto draw = [&](std::vector<std::int64_t> shape) {
            return (at::randn(shape) / std::sqrt(static_cast<double>(width))).to(type);
        };
        ih = draw({4 * width, width});
        hh = draw({4 * width, width});
        bias_ih = draw({4 * width});
        bias_hh = draw({4 * width});
    }
    LstmLayer layer() const { return LstmLayer(ih, hh, bias_ih, bias_hh); }
};

/// What torch computes from the same weights in float32.
at::Tensor expected(const Weights& weights, const at::Tensor& x) {
    const std::vector<at::Tensor> parameters = {weights.ih.to(at::kFloat), weights.hh.to(at::kFloat),
                                                weights.bias_ih.to(at::kFloat),
                                                weights.bias_hh.to(at::kFloat)};
    const at::Tensor zeros = at::zeros({1, x.size(0), x.size(2)});
    const std::vector<at::Tensor> state = {zeros, zeros};
    return std::get<0>(at::lstm(x, state, parameters, true, 1, 0.0, false, false, true));
}

double max_error(const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
}

TEST(LstmLayer, IsTorchsLstmAtAnyWidthAndNumberOfRows) {
    for (const std::int64_t width : {5, 16, 40, 64}) {
        const Weights weights(width);
        for (std::int64_t rows = 1; rows <= kLstmRows; ++rows) {
            const at::Tensor x = at::randn({rows, 30, width});
            const LstmLayer layer = weights.layer();
            at::Tensor state = layer.initial_state(rows);
            EXPECT_LT(max_error(layer.run(x, state), expected(weights, x)), 2e-6) << width << " " << rows;
        }
    }
}

TEST(LstmLayer, SaturatesAsTorchsDoes) {
    const Weights weights(16);
    const at::Tensor x = 1000.0 * at::randn({1, 5, 16});
    at::Tensor state = weights.layer().initial_state(1);
    EXPECT_LT(max_error(weights.layer().run(x, state), expected(weights, x)), 2e-6);
}

TEST(LstmLayer, Bfloat16RoundsTheWeightsAndTheInputsAlone) {
    const Weights weights(32, at::kBFloat16);
    const at::Tensor x = at::randn({2, 30, 32});
    at::Tensor state = weights.layer().initial_state(2);
    const double error = max_error(weights.layer().run(x, state), expected(weights, x));
    EXPECT_LT(error, 0.03);
    EXPECT_GT(error, 0.0);
}

TEST(LstmLayer, GoesOnFromItsState) {
    const Weights weights(20);
    const LstmLayer layer = weights.layer();
    const at::Tensor x = at::randn({3, 30, 20});
    at::Tensor state = layer.initial_state(3);
    const at::Tensor early = layer.run(x.narrow(1, 0, 11), state);
    const at::Tensor late = layer.run(x.narrow(1, 11, 19), state);
    EXPECT_LT(max_error(at::cat({early, late}, 1), expected(weights, x)), 2e-6);
}

TEST(LstmLayer, ARowIsTheSameInAnyCompany) {
    const Weights weights(24);
    const LstmLayer layer = weights.layer();
    const at::Tensor x = at::randn({4, 30, 24});
    at::Tensor state = layer.initial_state(4);
    const at::Tensor together = layer.run(x, state);
    for (std::int64_t row = 0; row < 4; ++row) {
        at::Tensor own = layer.initial_state(1);
        EXPECT_TRUE(at::equal(layer.run(x.narrow(0, row, 1), own)[0], together[row]));
    }
}

TEST(LstmLayer, OtherShapesAreRefused) {
    const Weights good(16);
    const auto expect_refused = [](const Weights& weights) { EXPECT_THROW(weights.layer(), ModelError); };
    for (at::Tensor Weights::*part : {&Weights::ih, &Weights::hh, &Weights::bias_ih, &Weights::bias_hh}) {
        Weights bad = good;
        bad.*part = (good.*part).narrow(0, 0, 4);
        expect_refused(bad);
        bad.*part = (good.*part).flatten();
        if ((good.*part).dim() > 1) expect_refused(bad);
    }
    Weights mixed = good;
    mixed.hh = good.hh.to(at::kBFloat16);
    expect_refused(mixed);

    const LstmLayer layer = good.layer();
    at::Tensor state = layer.initial_state(1);
    EXPECT_THROW(layer.run(at::zeros({1, 3, 15}), state), ModelError);
    EXPECT_THROW(layer.run(at::zeros({2, 3, 16}), state), ModelError);
    at::Tensor many = layer.initial_state(kLstmRows + 1);
    EXPECT_THROW(layer.run(at::zeros({kLstmRows + 1, 3, 16}), many), ModelError);
}

}  // namespace
}  // namespace musicsteer
