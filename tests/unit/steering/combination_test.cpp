#include "steering/combination.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::floats;

const HookPoint kCombinedPoint = HookPoint::at(1, Site::kResidPost);
const HookPoint kOther = HookPoint::at(2, Site::kResidPost);

Injection combined_injection(const std::vector<float>& vector, const HookPoint& point = kCombinedPoint,
                             double strength = 2.0) {
    Injection result;
    result.point = point;
    result.vector = at::tensor(vector);
    result.strength = strength;
    return result;
}

ResolvedSteering part(const std::string& file, SteeringPlan plan, bool orthogonalize = false) {
    ResolvedSteering result;
    result.plan = std::move(plan);
    result.setting.file = file;
    if (orthogonalize) result.setting.orthogonalize = true;
    return result;
}

SteeringPlan combine(const std::vector<ResolvedSteering>& parts) {
    return combine_parts(parts);
}

TEST(CombineParts, KeepsOrderAndVectors) {
    const SteeringPlan plan =
        combine({part("a", {combined_injection({1, 0}), combined_injection({5, 5}, kOther)}),
                 part("b", {combined_injection({1, 1})})});
    ASSERT_EQ(plan.size(), 3u);
    EXPECT_THAT(floats(plan[0].vector), ElementsAre(1, 0));
    EXPECT_EQ(plan[1].point, kOther);
    EXPECT_THAT(floats(plan[2].vector), ElementsAre(1, 1));
}

TEST(CombineParts, OrthogonalizesToAllBeforeAndKeepsStrengths) {
    const SteeringPlan plan =
        combine({part("a", {combined_injection({2, 0, 0})}),
                 part("b", {combined_injection({1, 1, 0})}),  // as it is, but b spans too
                 part("c", {combined_injection({1, 2, 3}, kCombinedPoint, -0.5)}, true)});
    EXPECT_THAT(floats(plan[1].vector), ElementsAre(1, 1, 0));
    EXPECT_THAT(floats(plan[2].vector), Pointwise(FloatNear(1e-6f), {0.0f, 0.0f, 3.0f}));
    EXPECT_EQ(plan[2].strength, -0.5);
}

TEST(CombineParts, StrengthZeroStillCounts) {
    const SteeringPlan plan = combine({part("a", {combined_injection({2, 0}, kCombinedPoint, 0.0)}),
                                       part("b", {combined_injection({1, 1})}, true)});
    EXPECT_THAT(floats(plan[1].vector), ElementsAre(0, 1));
}

TEST(CombineParts, PlacesAreOrthogonalizedApart) {
    const SteeringPlan plan =
        combine({part("a", {combined_injection({1, 0})}),
                 part("b", {combined_injection({1, 1}), combined_injection({1, 1}, kOther)}, true)});
    EXPECT_THAT(floats(plan[1].vector), ElementsAre(0, 1));
    EXPECT_THAT(floats(plan[2].vector), ElementsAre(1, 1));
}

TEST(CombineParts, RefusesWhatWouldLeaveHardlyAnything) {
    for (const float sign : {1.0f, -1.0f}) {
        EXPECT_THAT(
            [&] {
                combine({part("a", {combined_injection({1, 0})}),
                         part("b", {combined_injection({sign, 0.3f})}, true)});
            },
            ThrowsMessage<UsageError>(StrEq(
                "b: hardly anything is left of it at decoder.1.resid_post once it is orthogonalized to the "
                "vectors before it (cosine 0.958, more than 0.95): leave one out")));
    }
    EXPECT_NO_THROW(combine(
        {part("a", {combined_injection({1, 0})}), part("b", {combined_injection({1, 0.35f})}, true)}));
    // In the span of two vectors, near neither.
    EXPECT_THROW(combine({part("a", {combined_injection({1, 0})}), part("b", {combined_injection({0, 1})}),
                          part("c", {combined_injection({1, 1})}, true)}),
                 UsageError);
}

TEST(CombineParts, DoesNotSpreadToOtherHeads) {
    Injection b = combined_injection({0, 1, 1});
    b.mask = at::tensor({0, 1, 1}).to(at::kBool);
    EXPECT_NO_THROW(combine({part("a", {combined_injection({1, 0, 0})}), part("b", {b}, true)}));
    EXPECT_NO_THROW(combine({part("a", {combined_injection({0, 1, 0})}), part("b", {b}, true)}));
    EXPECT_THAT(
        [&] {
            combine({part("a", {combined_injection({1, 1, 0})}), part("b", {b}, true)});
        },
        ThrowsMessage<UsageError>(
            StrEq("b: orthogonalized, it would spread to other heads at decoder.1.resid_post: choose the "
                  "same heads for both vectors")));
}

TEST(FindParallelParts, NamesWhereTheCosineIsLargest) {
    const std::vector<ResolvedSteering> parts = {
        part("a", {combined_injection({1, 0}), combined_injection({1, 0}, kOther)}),
        part("b", {combined_injection({1, 0.2f}), combined_injection({-2, 0}, kOther)}),
        part("c", {combined_injection({0, 1})}),
    };
    const std::vector<ParallelParts> found = find_parallel_parts(parts);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].first, 0u);
    EXPECT_EQ(found[0].second, 1u);
    EXPECT_EQ(found[0].point, kOther);
    EXPECT_NEAR(found[0].cosine, -1.0, 1e-6);
    EXPECT_EQ(found[0].places, 2u);
}

TEST(FindParallelParts, NotWhatIsOrthogonalized) {
    const std::vector<ResolvedSteering> parts = {part("a", {combined_injection({1, 0})}),
                                                 part("b", {combined_injection({1, 0})}, true)};
    EXPECT_TRUE(find_parallel_parts(parts).empty());
}

}  // namespace
}  // namespace musicsteer
