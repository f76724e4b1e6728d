#include "kernels/step_attention.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Keys and values stand in a cache with room for more columns.
struct Attention {
    at::Tensor query, keys, values, bias;

    Attention(std::int64_t rows, std::int64_t heads, std::int64_t size, std::int64_t columns,
              at::ScalarType type, double loudness = 1) {
        at::manual_seed(columns);
        query = at::randn({rows, 1, 3, heads, size}).select(2, 0) * loudness;
        keys = (at::randn({rows, heads, columns + 3, size}) * loudness).to(type).narrow(2, 0, columns);
        values = at::randn({rows, heads, columns + 3, size}).to(type).narrow(2, 0, columns);
    }

    at::Tensor run() const { return attend_step(query, keys, values, bias); }

    at::Tensor expected() const {
        return at::scaled_dot_product_attention(
                   query.transpose(1, 2).to(at::kDouble), keys.to(at::kDouble), values.to(at::kDouble),
                   bias.defined() ? std::optional(bias.to(at::kDouble)) : std::nullopt)
            .transpose(1, 2);
    }

    void expect_equal(double bound) const {
        EXPECT_LE((run() - expected()).abs().max().item<double>(), bound * values.abs().max().item<double>());
    }
};

constexpr std::int64_t kColumns[] = {1, 2, 15, 16, 17, 100, 1503};

class AttendStep : public testing::TestWithParam<std::tuple<std::int64_t, at::ScalarType>> {};
INSTANTIATE_TEST_SUITE_P(Sizes, AttendStep,
                         testing::Combine(testing::Values(1, 20, 16, 32, 48, 64, 80, 128),
                                          testing::Values(at::kFloat, at::kHalf)));

TEST_P(AttendStep, EqualsLibTorchsAttentionInFloat64) {
    const auto [size, type] = GetParam();
    for (const std::int64_t columns : kColumns) {
        for (const double loudness : {1.0, 12.0}) {  // the second makes attention nearly one column's
            // Scores grow with the square of the loudness, and so does what float32 rounds off them.
            Attention(3, 5, size, columns, type, loudness)
                .expect_equal(1e-6 * (1 + loudness * loudness / 10));
        }
    }
}

TEST_P(AttendStep, LeavesOutWhatTheBiasMasks) {
    const auto [size, type] = GetParam();
    for (const std::int64_t columns : kColumns) {
        Attention test(2, 3, size, columns, type);
        test.bias = at::zeros({2, 1, 1, columns});
        test.bias[1].narrow(-1, 0, columns / 2).fill_(-std::numeric_limits<float>::infinity());
        test.expect_equal(1e-6);
    }
}

TEST_P(AttendStep, RowsAreTheSameAtAnyPlaceAndOnAnyNumberOfThreads) {
    const auto [size, type] = GetParam();
    for (const std::int64_t columns : kColumns) {
        const int threads = at::get_num_threads();
        Attention test(4, 3, size, columns, type);
        const at::Tensor order = at::tensor({2, 0, 3, 1});
        Attention moved = test;
        for (at::Tensor* part : {&moved.query, &moved.keys, &moved.values})
            *part = part->index_select(0, order);
        const at::Tensor here = test.run().index_select(0, order);
        for (const int count : {1, 2, 3}) {
            at::set_num_threads(count);
            EXPECT_TRUE(at::equal(moved.run(), here)) << count << " threads";
        }
        at::set_num_threads(threads);
    }
}

TEST_P(AttendStep, WhatIsNotFiniteShows) {
    const auto [size, type] = GetParam();
    for (const std::int64_t columns : kColumns) {
        for (const auto part : {&Attention::query, &Attention::keys, &Attention::values}) {
            Attention test(2, 2, size, columns, type);
            at::Tensor& damaged = test.*part;
            damaged[0].fill_(std::numeric_limits<float>::quiet_NaN());
            EXPECT_FALSE(test.run()[0].isfinite().any().item<bool>());
            EXPECT_TRUE(test.run()[1].isfinite().all().item<bool>());
        }
    }
}

TEST(AttendStepOnOneText, RowsShareIt) {
    Attention test(4, 2, 32, 9, at::kFloat);
    for (at::Tensor* part : {&test.keys, &test.values}) *part = part->narrow(0, 0, 1).expand({4, 2, 9, 32});
    test.expect_equal(1e-6);
}

TEST(AttendStepOnOtherShapes, AreRefused) {
    const Attention test(2, 2, 16, 4, at::kFloat);
    EXPECT_THROW(attend_step(test.query, test.keys.narrow(0, 0, 1), test.values, {}), ModelError);
    EXPECT_THROW(attend_step(test.query, test.keys, test.values.narrow(2, 0, 3), {}), ModelError);
    EXPECT_THROW(attend_step(test.query, test.keys, test.values, at::zeros({2, 1, 1, 3})), ModelError);
    const at::Tensor scattered = test.keys.repeat({1, 1, 1, 2}).slice(-1, 0, 32, 2);
    EXPECT_THROW(attend_step(test.query, scattered, test.values, {}), ModelError);
}

}  // namespace
}  // namespace musicsteer
