#include "directions/directions.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "generation/activations.hpp"
#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::cosine;
using testing_support::floats;

PooledSide side(const std::vector<std::vector<float>>& means, const std::vector<float>& norms) {
    std::vector<at::Tensor> rows;
    for (const std::vector<float>& row : means) rows.push_back(at::tensor(row));
    return {at::stack(rows), at::tensor(norms)};
}

PooledSide side(const at::Tensor& means) {
    return {means, means.norm(2, {1})};
}

TEST(DifferenceInMeans, ByHand) {
    const Direction direction =
        difference_in_means(side({{1, 0}, {3, 0}}, {1, 3}), side({{0, 1}, {-2, 1}}, {5, 11}));
    EXPECT_THAT(floats(direction.vector), ElementsAre(3, -1));
    EXPECT_EQ(direction.vector.scalar_type(), at::kFloat);
    EXPECT_DOUBLE_EQ(direction.stats.norm, std::sqrt(10.0));
    EXPECT_DOUBLE_EQ(direction.stats.mean_residual_norm, 5.0);
    // Projections on (3, -1): 3 and 9 against -1 and -7; both sides have 18 of squares about the mean.
    EXPECT_DOUBLE_EQ(direction.stats.effect_size, (6.0 - -4.0) / std::sqrt((18.0 + 18.0) / 2.0));
}

TEST(DifferenceInMeans, SidesOfUnequalSize) {
    const Direction direction = difference_in_means(side({{4}, {6}, {8}}, {4, 6, 8}), side({{1}}, {2}));
    EXPECT_THAT(floats(direction.vector), ElementsAre(5));
    EXPECT_DOUBLE_EQ(direction.stats.mean_residual_norm, 5.0);  // over prompts, not over sides
    EXPECT_DOUBLE_EQ(direction.stats.effect_size, 5.0 / std::sqrt(8.0 / 2.0));
}

TEST(DifferenceInMeans, SwappedSidesPointTheOtherWay) {
    const PooledSide high = side({{1, 2}, {3, 5}}, {1, 1});
    const PooledSide low = side({{0, 1}, {-1, 1}}, {1, 1});
    const Direction forth = difference_in_means(high, low);
    const Direction back = difference_in_means(low, high);
    EXPECT_TRUE(at::equal(back.vector, -forth.vector));
    EXPECT_DOUBLE_EQ(back.stats.effect_size, forth.stats.effect_size);
}

TEST(DifferenceInMeans, EffectSizeIsZeroWhereItIsUndefined) {
    EXPECT_EQ(difference_in_means(side({{2}}, {2}), side({{1}}, {1})).stats.effect_size, 0.0);
    const Direction without_spread = difference_in_means(side({{2}, {2}}, {2, 2}), side({{1}, {1}}, {1, 1}));
    EXPECT_EQ(without_spread.stats.effect_size, 0.0);
    EXPECT_THAT(floats(without_spread.vector), ElementsAre(1));
}

TEST(DifferenceInMeans, EqualSidesGiveZero) {
    const PooledSide one = side({{1, 2}, {3, 4}}, {1, 1});
    const Direction direction = difference_in_means(one, one);
    EXPECT_THAT(floats(direction.vector), ElementsAre(0, 0));
    EXPECT_EQ(direction.stats.norm, 0.0);
    EXPECT_EQ(direction.stats.effect_size, 0.0);
}

TEST(DifferenceInMeans, SmallDifferenceOfLargeValuesIsKept) {
    // The mean of 8192.5 and 8193 needs one bit more than sums of 1000 float32 values of that size have.
    const at::Tensor high = at::cat({at::full({500, 1}, 8192.5f), at::full({500, 1}, 8193.0f)});
    const Direction direction = difference_in_means(side(high), side(at::full({1000, 1}, 8192.5f)));
    EXPECT_THAT(floats(direction.vector), ElementsAre(0.25f));
}

TEST(DifferenceInMeans, RecoversADirectionPlantedInNoise) {
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1234);
    at::Tensor planted = at::randn({64}, generator);
    planted = planted / planted.norm();
    const at::Tensor offset = at::randn({64}, generator) * 20;  // what both sides share
    const at::Tensor high = at::randn({200, 64}, generator) + offset + planted * 10;
    const at::Tensor low = at::randn({200, 64}, generator) + offset;
    const Direction direction = difference_in_means(side(high), side(low));
    EXPECT_GT(cosine(direction.vector, planted), 0.99);
    EXPECT_NEAR(direction.stats.norm, 10.0, 0.3);
    EXPECT_NEAR(direction.stats.effect_size, 10.0, 1.0);  // noise of deviation 1 along it
}

TEST(DifferenceInMeans, RecoversADirectionPlantedInRecordedActivations) {
    constexpr std::int64_t kPrompts = 8, kFrames = 200, kWidth = 32;
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(99);
    at::Tensor planted = at::randn({kWidth}, generator);
    planted = planted / planted.norm();
    const HookPoint point = HookPoint::at(0, Site::kResidPost);
    std::vector<Row> rows;
    for (std::int64_t i = 0; i < kPrompts; ++i) rows.push_back({i, RowRole::kConditional});
    for (std::int64_t i = 0; i < kPrompts; ++i) rows.push_back({i, RowRole::kNull});

    const auto record = [&](double strength) {
        HookRegistry hooks(1);
        const ActivationMeans means(hooks, std::vector{point}, kPrompts, kWidth, {0, kFrames},
                                    RecordedRows::kConditional);
        HookContext context;
        context.point = point;
        context.rows = rows;
        for (context.position = 0; context.position < kFrames; ++context.position) {
            at::Tensor activation = at::randn({2 * kPrompts, 1, kWidth}, generator);
            activation.narrow(0, 0, kPrompts).add_(planted * strength);
            (void)hooks.fire(activation, context);
        }
        return PooledSide{means.mean(point), means.mean_norm(point)};
    };
    const Direction direction = difference_in_means(record(1.0), record(-1.0));
    EXPECT_GT(cosine(direction.vector, planted), 0.99);
    EXPECT_NEAR(direction.stats.norm, 2.0, 0.1);
}

TEST(DifferenceInMeans, RejectsAnEmptySide) {
    const PooledSide one = side({{1}}, {1});
    EXPECT_THAT([&] { difference_in_means({}, one); },
                ThrowsMessage<InputError>(StrEq("the positive side holds no activations")));
    EXPECT_THAT(
        [&] {
            difference_in_means(one, {at::empty({0, 1}), at::empty({0})});
        },
        ThrowsMessage<InputError>(StrEq("the negative side holds no activations")));
}

TEST(DifferenceInMeans, RejectsSidesOfDifferentWidths) {
    EXPECT_THAT(
        [] {
            difference_in_means(side({{1, 2, 3}}, {1}), side({{1, 2}}, {1}));
        },
        ThrowsMessage<InputError>(StrEq("the positive side is 3 wide, the negative side 2")));
}

TEST(DifferenceInMeans, RejectsWhatIsNotFinite) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const PooledSide one = side({{1}}, {1});
    EXPECT_THAT(
        [&] {
            difference_in_means(side({{1}, {kNan}}, {1, 1}), one);
        },
        ThrowsMessage<InputError>(StrEq("an activation of the positive side is not finite")));
    EXPECT_THAT([&] { difference_in_means(one, side({{-kInfinity}}, {1})); },
                ThrowsMessage<InputError>(StrEq("an activation of the negative side is not finite")));
    EXPECT_THAT([&] { difference_in_means(one, side({{1}}, {kInfinity})); },
                ThrowsMessage<InputError>(StrEq("an activation of the negative side is not finite")));
}

TEST(DifferenceInMeans, RejectsShapesThatDoNotBelongTogether) {
    const PooledSide one = side({{1}}, {1});
    EXPECT_THAT(
        [&] {
            difference_in_means(side({{1}, {2}}, {1}), one);
        },
        ThrowsMessage<ModelError>(StrEq("[directions mean norms] expected [2] but received [1]")));
    EXPECT_THAT(
        [&] {
            difference_in_means({at::zeros({3}), at::zeros({3})}, one);
        },
        ThrowsMessage<ModelError>(StrEq("[directions means] expected [any, any] but received [3]")));
}

}  // namespace
}  // namespace musicsteer
