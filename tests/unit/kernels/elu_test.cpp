#include "kernels/elu.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <cmath>
#include <limits>

namespace musicsteer {
namespace {

/// Values of every size on both sides of 0, a count that does not fill vectors.
at::Tensor numbers() {
    at::manual_seed(3);
    const at::Tensor sizes = at::pow(10.0, at::linspace(-8.0, 2.0, 10007));
    return at::cat({sizes, -sizes, at::zeros({1})});
}

TEST(Elu, AgreesWithFloat64) {
    const at::Tensor x = numbers();
    const at::Tensor expected = at::elu(x.to(at::kDouble));
    const at::Tensor error = ((fast_elu(x) - expected) / expected.abs().clamp_min(1e-30)).abs();
    EXPECT_LT(error.max().item<double>(), 2.5e-7);
}

TEST(Elu, RoundsBfloat16ToTheNearest) {
    const at::Tensor x = numbers().to(at::kBFloat16);
    EXPECT_TRUE(at::equal(fast_elu(x), fast_elu(x.to(at::kFloat)).to(at::kBFloat16)));
}

TEST(Elu, InPlaceGivesTheSameBits) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        at::Tensor x = numbers().to(type);
        const at::Tensor expected = fast_elu(x);
        fast_elu_in_place(x);
        EXPECT_TRUE(at::equal(x, expected));
    }
}

TEST(Elu, KeepsWhatIsNoNumber) {
    const double infinity = std::numeric_limits<double>::infinity();
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        const at::Tensor y = fast_elu(at::tensor({infinity, -infinity, std::nan("")}).to(type));
        EXPECT_EQ(y[0].item<double>(), infinity);
        EXPECT_EQ(y[1].item<double>(), -1.0);
        EXPECT_TRUE(std::isnan(y[2].item<double>()));
    }
}

TEST(Elu, TakesAnyLayoutAndType) {
    const at::Tensor x = at::randn({2, 7, 5});
    const at::Tensor channels_together = x.transpose(1, 2);
    EXPECT_TRUE(at::equal(fast_elu(channels_together), fast_elu(x).transpose(1, 2)));
    EXPECT_EQ(fast_elu(channels_together).strides(), channels_together.strides());
    const at::Tensor gaps = x.narrow(2, 1, 3);
    EXPECT_TRUE(at::allclose(fast_elu(gaps), fast_elu(x).narrow(2, 1, 3), 1e-6, 1e-7));
    at::Tensor doubles = x.to(at::kDouble);
    const at::Tensor expected = at::elu(doubles);
    fast_elu_in_place(doubles);
    EXPECT_TRUE(at::equal(doubles, expected));
    EXPECT_EQ(fast_elu(at::empty({0})).numel(), 0);
}

std::string graph_of(const torch::jit::Method& method) {
    return torch::jit::toGraphFunction(method.function()).graph()->toString();
}

TEST(UseFastElu, ReplacesCallsAtAnyDepthInThatMethodAlone) {
    torch::jit::Module module("elu_test");
    module.define(R"(
        def innermost(self, x):
            return torch.elu_(torch.elu(x), 1)
        def inner(self, x):
            return self.innermost(x)
        def first(self, x, n: int):
            for i in range(n):
                x = self.inner(x)
            return torch.elu(x, 2.0)
        def second(self, x):
            return self.inner(x)
    )");
    const torch::jit::GraphOptimizerEnabledGuard optimizer(false);  // as the engine has it
    const torch::jit::Method first = module.get_method("first");
    EXPECT_EQ(use_fast_elu(first), 2);
    EXPECT_NE(graph_of(first).find("musicsteer::elu_("), std::string::npos);
    EXPECT_EQ(graph_of(module.get_method("innermost")).find("musicsteer"), std::string::npos);
    const at::Tensor x = at::randn({33});
    const at::Tensor expected = at::elu(fast_elu(fast_elu(fast_elu(fast_elu(x)))), 2.0);
    EXPECT_TRUE(at::equal(first({x, 2}).toTensor(), expected));
}

}  // namespace
}  // namespace musicsteer
