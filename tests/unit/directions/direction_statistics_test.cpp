#include "directions/direction_statistics.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing_support::noise;

at::Tensor numbers(const std::vector<double>& values) {
    return at::tensor(values, at::kDouble);
}

at::Tensor along_means(const TrainingSet& set) {
    return fit_direction(set, {});
}

TEST(CohensD, ByHand) {
    EXPECT_DOUBLE_EQ(cohens_d(numbers({1, 3}), numbers({-1, 1})), 2.0 / std::sqrt((2.0 + 2.0) / 2.0));
    EXPECT_EQ(cohens_d(numbers({1}), numbers({0})), 0.0);
    EXPECT_EQ(cohens_d(numbers({1, 1}), numbers({0, 0})), 0.0);
}

TEST(Silhouette, ByHand) {
    // 0: within 1, between 4.5 -> 3.5 / 4.5; 1: 1, 3.5 -> 2.5 / 3.5; 4: 1, 3.5; 5: 1, 4.5
    EXPECT_DOUBLE_EQ(silhouette(numbers({0, 1}), numbers({4, 5})), (3.5 / 4.5 + 2.5 / 3.5) / 2.0);
    EXPECT_EQ(silhouette(numbers({1, 1}), numbers({1, 1})), 0.0);
    EXPECT_LT(silhouette(numbers({0, 5}), numbers({1, 4})), 0.0);
}

TEST(Silhouette, AGroupOfOneCountsAsZero) {
    // 1 has a silhouette of (0.5 - 0.5) / ..., by convention 0; 2 and 3: within 1, between 1 and 2
    EXPECT_DOUBLE_EQ(silhouette(numbers({1}), numbers({2, 3})), (0.0 + 0.0 + 0.5) / 3.0);
}

TEST(LeaveOneOut, ByHand) {
    TrainingSet set;
    set.positive = numbers({4, 6}).unsqueeze(1);
    set.negative = numbers({0, 8}).unsqueeze(1);
    // Without 4 and 0: 6 against 8, so the direction is -1 and the middle 7: 4 -> 3, 0 -> 7.
    // Without 6 and 8: 4 against 0, direction 1, middle 2: 6 -> 4, 8 -> 6.
    const auto held_out = leave_one_out(set, along_means);
    ASSERT_TRUE(held_out);
    EXPECT_DOUBLE_EQ(held_out->cohens_d, (3.5 - 6.5) / std::sqrt((0.5 + 0.5) / 2.0));
    EXPECT_DOUBLE_EQ(held_out->accuracy, 0.5);
    EXPECT_EQ(held_out->r, std::nullopt);
}

TEST(LeaveOneOut, CorrelatesWithNumbers) {
    TrainingSet set;
    set.positive = numbers({10, 11, 12}).unsqueeze(1);
    set.negative = numbers({0, 1, 2}).unsqueeze(1);
    set.positive_values = numbers({110, 120, 130});
    set.negative_values = numbers({60, 70, 80});
    const auto held_out = leave_one_out(set, along_means);
    ASSERT_TRUE(held_out && held_out->r);
    EXPECT_GT(*held_out->r, 0.95);
    EXPECT_DOUBLE_EQ(held_out->accuracy, 1.0);
    set.negative_values = set.positive_values = numbers({1, 1, 1});
    EXPECT_EQ(leave_one_out(set, along_means)->r, std::nullopt);
}

TEST(LeaveOneOut, UnequalSidesAndSidesOfOne) {
    TrainingSet set;
    set.positive = noise(5, 3, 1) + 3.0;
    set.negative = noise(2, 3, 2);
    EXPECT_TRUE(leave_one_out(set, along_means));
    set.negative = noise(1, 3, 2);
    EXPECT_FALSE(leave_one_out(set, along_means));
}

// In sample, noise of this size has a Cohen's d of about 4.5.
TEST(LeaveOneOut, PureNoiseIsNotTold) {
    TrainingSet set;
    set.positive = noise(100, 1024, 3) + 5.0;
    set.negative = noise(100, 1024, 4) + 5.0;
    const at::Tensor direction = along_means(set);
    EXPECT_GT(cohens_d(set.positive.matmul(direction), set.negative.matmul(direction)), 4.0);
    const auto held_out = leave_one_out(set, along_means);
    ASSERT_TRUE(held_out);
    EXPECT_LT(std::abs(held_out->cohens_d), 0.4);
    EXPECT_NEAR(held_out->accuracy, 0.5, 0.1);
    EXPECT_NEAR(held_out->silhouette, 0.0, 0.05);
}

TEST(LeaveOneOut, AFewNoisyPairsAreNotTold) {
    double sum = 0.0;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        TrainingSet set;
        set.positive = noise(6, 200, 2 * seed);
        set.negative = noise(6, 200, 2 * seed + 1);
        sum += leave_one_out(set, along_means)->accuracy;
    }
    EXPECT_NEAR(sum / 40.0, 0.5, 0.08);
}

}  // namespace
}  // namespace musicsteer
