#include "generation/steering_hooks.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "musicsteer/errors.hpp"
#include "musicsteer/gate_setting.hpp"
#include "musicsteer/vector_file.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing_support::floats;

const HookPoint kPoint = HookPoint::at(1, Site::kResidPost);
constexpr double kFrameRateHz = 10.0;
const HookPoint kHeads = HookPoint::at(1, Site::kSelfAttnHeads);

/// Two requests in the order of a session, and in one that no session has.
const std::vector<Row> kRows = {
    {0, RowRole::kConditional}, {1, RowRole::kConditional}, {0, RowRole::kNull}, {1, RowRole::kNull}};
const std::vector<Row> kMixedRows = {
    {1, RowRole::kNull}, {0, RowRole::kConditional}, {1, RowRole::kConditional}, {0, RowRole::kNull}};

Injection injection(const std::vector<float>& vector, double strength, SteeredRows rows = SteeredRows::kBoth,
                    const HookPoint& point = kPoint) {
    Injection result;
    result.point = point;
    result.vector = at::tensor(vector);
    result.strength = strength;
    result.rows = rows;
    return result;
}

Injection with_mode(const std::vector<float>& vector, double strength, SteeringMode mode,
                    double value = 0.0) {
    Injection result = injection(vector, strength);
    result.mode = mode;
    result.value = value;
    return result;
}

Injection with_course(const std::vector<float>& vector, double strength, const Course& course) {
    Injection result = injection(vector, strength);
    result.course = course;
    return result;
}

/// What steers the rows of a two-layer decoder, and fires at one point.
class SteeringTest : public testing::Test {
  protected:
    void steer(const std::vector<SteeringPlan>& plans, const std::vector<Row>& rows = kRows) {
        rows_ = rows;
        steering_.reset();
        steering_.emplace(hooks_, plans, rows, kFrameRateHz, at::kCPU);
    }

    at::Tensor fire(const at::Tensor& activation, const HookPoint& point = kPoint,
                    std::int64_t position = 0) const {
        HookContext context;
        context.point = point;
        context.position = position;
        context.num_frames = 5;
        context.columns = activation.size(1);
        context.rows = rows_;
        return hooks_.fire(activation, context);
    }

    /// What is added to each row of zeros [4, 1, 1].
    std::vector<float> added() const { return floats(fire(at::zeros({4, 1, 1}))); }

    HookRegistry hooks_{2};
    std::vector<Row> rows_;
    std::optional<SteeringHooks> steering_;
};

TEST_F(SteeringTest, AddsTheVectorTimesItsStrength) {
    steer({{injection({1, -2}, 0.5)}, {}});
    const at::Tensor steered = fire(at::tensor({10.0f, 20.0f}).expand({4, 1, 2}));
    EXPECT_THAT(floats(steered[0]), ElementsAre(10.5, 19));
    EXPECT_THAT(floats(steered[1]), ElementsAre(10, 20));
}

TEST_F(SteeringTest, NegativeStrengthSubtracts) {
    steer({{injection({2}, -1.5)}, {}});
    EXPECT_THAT(added(), ElementsAre(-3, 0, -3, 0));
}

TEST_F(SteeringTest, EveryColumnOfAChunkIsSteered) {
    steer({{injection({1, 2}, 3)}, {}});
    EXPECT_THAT(floats(fire(at::zeros({4, 3, 2}))[0]), ElementsAre(3, 6, 3, 6, 3, 6));
}

TEST_F(SteeringTest, BothRowsOrTheConditionalOne) {
    steer({{injection({1}, 1)}, {injection({1}, 10)}});
    EXPECT_THAT(added(), ElementsAre(1, 10, 1, 10));
    steer({{injection({1}, 1, SteeredRows::kConditional)}, {injection({1}, 10)}});
    EXPECT_THAT(added(), ElementsAre(1, 10, 0, 10));
}

TEST_F(SteeringTest, RowsAreFoundByRequestAndRoleNotByPlace) {
    steer({{injection({1}, 1, SteeredRows::kConditional)}, {injection({1}, 10)}}, kMixedRows);
    EXPECT_THAT(added(), ElementsAre(10, 1, 10, 0));
}

TEST_F(SteeringTest, SeveralInjectionsOnARowSum) {
    steer({{injection({1}, 1), injection({1}, 2, SteeredRows::kConditional), injection({4}, 1)},
           {injection({1}, 100)}});
    EXPECT_THAT(added(), ElementsAre(7, 100, 5, 100));
}

TEST_F(SteeringTest, PointsAreSteeredApart) {
    const HookPoint other = HookPoint::at(0, Site::kMlpOut);
    steer({{injection({1}, 1), injection({1}, 2, SteeredRows::kBoth, other)}, {}});
    EXPECT_THAT(added(), ElementsAre(1, 0, 1, 0));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 1}), other)), ElementsAre(2, 0, 2, 0));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 1}), HookPoint::final_norm())), Each(0));
}

TEST_F(SteeringTest, HeadsAreSteeredAsOneVector) {
    steer({{injection({1, 2, 3, 4}, 10, SteeredRows::kBoth, kHeads)}, {}});
    const at::Tensor steered =
        fire(at::arange(32, at::kFloat).view({4, 2, 2, 2}), kHeads);  // [B, T, H, D / H]
    EXPECT_EQ(steered.sizes(), (std::vector<std::int64_t>{4, 2, 2, 2}));
    EXPECT_THAT(floats(steered[0]), ElementsAre(10, 21, 32, 43, 14, 25, 36, 47));
    EXPECT_THAT(floats(steered[1]), ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
}

TEST_F(SteeringTest, HeadsMayBeLaidOutBeforeColumns) {
    steer({{injection({1, 2, 3, 4}, 10, SteeredRows::kBoth, kHeads)}, {}});
    const at::Tensor activation = at::arange(32, at::kFloat).view({4, 2, 2, 2});
    const at::Tensor transposed = activation.transpose(1, 2).contiguous().transpose(1, 2);
    ASSERT_FALSE(transposed.is_contiguous());
    EXPECT_TRUE(at::equal(fire(transposed, kHeads), fire(activation, kHeads)));
}

TEST_F(SteeringTest, ArgumentIsLeftAlone) {
    steer({{injection({1}, 1)}, {injection({1}, 1)}});
    const at::Tensor activation = at::zeros({4, 1, 1});
    (void)fire(activation);
    EXPECT_THAT(floats(activation), Each(0));
}

TEST_F(SteeringTest, StrengthZeroLeavesTheVeryTensor) {
    steer({{injection({1}, 0), injection({1}, -0.0)}, {}});
    const at::Tensor activation = at::ones({4, 1, 1});
    EXPECT_TRUE(fire(activation).is_same(activation));
    steer({{}, {}});
    EXPECT_TRUE(fire(activation).is_same(activation));
}

TEST_F(SteeringTest, RowsThatAreNotSteeredKeepTheirBits) {
    steer({{injection({1}, 1)}, {injection({1}, 0)}});
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const at::Tensor activation = at::tensor({1.0f, -0.0f, 1.0f, nan}).view({4, 1, 1});
    const std::vector<float> steered = floats(fire(activation));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(steered[1]), 0x80000000u);  // adding 0 would give +0
    EXPECT_EQ(std::bit_cast<std::uint32_t>(steered[3]), std::bit_cast<std::uint32_t>(nan));
}

TEST_F(SteeringTest, EndOfSteeringRestores) {
    const at::Tensor activation = at::ones({4, 1, 1});
    steer({{injection({1}, 1)}, {}});
    EXPECT_FALSE(at::equal(fire(activation), activation));
    steering_.reset();
    EXPECT_TRUE(fire(activation).is_same(activation));
}

TEST_F(SteeringTest, TwoSteeringsCompose) {
    steer({{injection({1}, 1)}, {}});
    const SteeringHooks second(hooks_, {{injection({1}, 10)}, {}}, kRows, kFrameRateHz, at::kCPU);
    EXPECT_THAT(added(), ElementsAre(11, 0, 11, 0));
}

TEST_F(SteeringTest, RenormKeepsTheLength) {
    steer({{with_mode({0, 4}, 1, SteeringMode::kAddRenorm)}, {}});
    const at::Tensor steered = fire(at::tensor({3.0f, 0.0f}).expand({4, 1, 2}));
    EXPECT_THAT(floats(steered[0]), testing::Pointwise(testing::FloatNear(1e-6f), {1.8f, 2.4f}));
    EXPECT_THAT(floats(steered[1]), ElementsAre(3, 0));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}))[0]), Each(0));  // there is no length to keep
}

TEST_F(SteeringTest, AblationRemovesAShareOfTheProjection) {
    steer({{with_mode({0, 5}, 1, SteeringMode::kAblate)}, {with_mode({0, -2}, 0.25, SteeringMode::kAblate)}});
    const at::Tensor steered = fire(at::tensor({3.0f, 4.0f}).expand({4, 1, 2}));
    EXPECT_THAT(floats(steered[0]), ElementsAre(3, 0));
    EXPECT_THAT(floats(steered[1]), ElementsAre(3, 3));
}

TEST_F(SteeringTest, ClampSetsTheProjection) {
    steer({{with_mode({0, -2}, 1, SteeringMode::kClamp, 1.5)}, {}});
    EXPECT_THAT(floats(fire(at::tensor({3.0f, 4.0f}).expand({4, 1, 2}))[0]), ElementsAre(3, -1.5));
}

TEST_F(SteeringTest, InjectionsOfOneRowActInOrder) {
    const Injection ablate = with_mode({1}, 1, SteeringMode::kAblate);
    steer({{injection({1}, 2), ablate}, {ablate, injection({1}, 2)}});
    EXPECT_THAT(added(), ElementsAre(0, 2, 0, 2));
}

TEST_F(SteeringTest, SchedulesRunOnPositions) {
    steer({{with_course({1}, 2, {.schedule = Schedule::parse("linear,1,0")})}, {}});
    EXPECT_THAT(floats(fire(at::zeros({4, 3, 1}))[0]), ElementsAre(2, 1.5, 1));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 1}), kPoint, 3)[0]), ElementsAre(0.5));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 1}), kPoint, 9)[0]), ElementsAre(0));
}

TEST_F(SteeringTest, RampRisesByARaisedCosine) {
    steer({{with_course({1}, 2, {.ramp_in_s = 0.4})}, {}});  // four frames
    const std::vector<float> steered = floats(fire(at::zeros({4, 6, 1}))[0]);
    EXPECT_THAT(steered, testing::Pointwise(testing::FloatNear(1e-6f),
                                            {0.0f, 0.292893f, 1.0f, 1.707107f, 2.0f, 2.0f}));
}

TEST_F(SteeringTest, FramesOutsideAWindowKeepTheirBits) {
    Injection windowed = with_mode({1}, 2, SteeringMode::kAddRenorm);
    windowed.course.schedule = Schedule::parse("window,0.1,0.2");
    steer({{windowed}, {}});
    const at::Tensor activation = at::full({4, 3, 1}, -0.0f);
    const std::vector<float> steered = floats(fire(activation)[0]);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(steered[0]), 0x80000000u);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(steered[2]), 0x80000000u);
}

TEST_F(SteeringTest, RandomFramesAreSteeredOrNot) {
    const RandomFrames frames{0.5, 11};
    steer({{with_course({1}, 3, {.frames = frames})}, {}});
    const std::vector<float> steered = floats(fire(at::zeros({4, 40, 1}))[0]);
    for (std::int64_t p = 0; p < 40; ++p)
        EXPECT_EQ(steered[static_cast<std::size_t>(p)], frames.contains(p) ? 3.0f : 0.0f) << p;
}

Injection at_heads(const std::vector<float>& vector, SteeringMode mode) {
    Injection result = injection(vector, 1, SteeredRows::kBoth, kHeads);
    result.mode = mode;
    result.mask = at::tensor({0, 0, 1, 1}).to(at::kBool);
    return result;
}

TEST_F(SteeringTest, ChosenHeadsAloneChange) {
    const at::Tensor activation =
        at::tensor({-0.0f, 7.0f, 3.0f, 4.0f}).expand({4, 1, 4}).contiguous().view({4, 1, 2, 2});
    steer({{at_heads({0, 0, 1, 2}, SteeringMode::kAdd)},
           {injection({1, 1, 1, 1}, 1, SteeredRows::kBoth, kHeads)}});
    const std::vector<float> added = floats(fire(activation, kHeads)[0]);
    EXPECT_THAT(added, ElementsAre(0, 7, 4, 6));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(added[0]), 0x80000000u);
    EXPECT_THAT(floats(fire(activation, kHeads)[1]), ElementsAre(1, 8, 4, 5));
    // The norm that is kept is that of the chosen heads: 5.
    steer({{at_heads({0, 0, 4, -3}, SteeringMode::kAddRenorm)}, {}});
    EXPECT_THAT(floats(fire(activation, kHeads)[0]),
                testing::Pointwise(testing::FloatNear(1e-5f), {0.0f, 7.0f, 4.949747f, 0.707107f}));
    steer({{at_heads({0, 0, 0, 2}, SteeringMode::kAblate)}, {}});
    EXPECT_THAT(floats(fire(activation, kHeads)[0]), ElementsAre(0, 7, 3, 0));
}

/// Adds 1 at `point` while the cosine with (1, 0) at layer 1's resid_post is above a half.
Injection gated(const HookPoint& point, const std::string& condition = "decoder.1.resid_post>0.5") {
    Injection result = injection({1, 1}, 1, SteeredRows::kBoth, point);
    VectorFile file;
    const GateSetting gate = GateSetting::parse("g", condition);
    file.directions[gate.point_name] = at::tensor({2.0f, 0.0f});
    result.gate = gate.with_direction(file, 2);
    return result;
}

/// [4, T, 2]: the conditional rows are given column by column, the null rows point the other way.
at::Tensor columns(const std::vector<float>& first, const std::vector<float>& second) {
    const at::Tensor a = at::tensor(first).view({-1, 2}), b = at::tensor(second).view({-1, 2});
    return at::stack({a, b, -a, -b});
}

TEST_F(SteeringTest, GateActsOnLaterPlacesInTheSameFrame) {
    const HookPoint later = HookPoint::final_norm();
    steer({{gated(later)}, {gated(later, "decoder.1.resid_post<0.5")}});
    (void)fire(columns({3, 1, 0, 2, 1, 1, 0, 0}, {3, 1, 0, 2, 1, 1, 0, 0}));  // cosines 0.95, 0, 0.71, none
    const at::Tensor steered = fire(at::zeros({4, 4, 2}), later);
    for (const std::int64_t row : {0, 2})  // the null row follows the conditional one
        EXPECT_THAT(floats(steered[row]), ElementsAre(1, 1, 0, 0, 1, 1, 0, 0)) << row;
    EXPECT_THAT(floats(steered[1]), ElementsAre(0, 0, 1, 1, 0, 0, 1, 1));
}

TEST_F(SteeringTest, GateActsOnItsOwnAndEarlierPlacesFromTheNextFrame) {
    for (const HookPoint& place : {HookPoint::at(0, Site::kMlpOut), kPoint}) {
        steer({{gated(place)}, {}});
        EXPECT_TRUE(needs_single_steps({gated(place)}));
        EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}), place, 0)[0]), ElementsAre(0, 0));  // nothing was read
        (void)fire(columns({1, 0}, {0, 0}), kPoint, 0);
        EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}), place, 1)[0]), ElementsAre(1, 1));
        (void)fire(columns({-5, 0}, {0, 0}), kPoint, 1);
        EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}), place, 2)[0]), ElementsAre(0, 0));
        EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}), place, 1)[0]), ElementsAre(1, 1));  // once more
    }
    EXPECT_FALSE(needs_single_steps({gated(HookPoint::final_norm()), injection({1, 1}, 1)}));
}

TEST_F(SteeringTest, GateReadsWhatEditsLeave) {
    Injection turns = injection({0, 100}, 1);  // away from the gate's direction
    steer({{turns, gated(HookPoint::final_norm())}, {}});
    (void)fire(columns({1, 0}, {0, 0}));
    EXPECT_THAT(floats(fire(at::zeros({4, 1, 2}), HookPoint::final_norm())[0]), ElementsAre(0, 0));
}

TEST_F(SteeringTest, LayerThatTheModelLacksIsRejected) {
    EXPECT_THROW(steer({{injection({1}, 1, SteeredRows::kBoth, HookPoint::at(2, Site::kResidPost))}, {}}),
                 UsageError);
}

}  // namespace
}  // namespace musicsteer
