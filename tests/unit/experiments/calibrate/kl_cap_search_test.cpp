#include "experiments/calibrate/kl_cap_search.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace musicsteer {
namespace {

constexpr double kCap = 0.5;

/// What is found where a strength costs this much, and in how many tries.
struct Found {
    double edge = 0.0;
    int tries = 0;
};

Found search(double first, const std::function<double(double)>& kl_at) {
    KlCapSearch search(first, kCap);
    Found found;
    while (!search.done()) {
        search.take(kl_at(search.next()));
        ++found.tries;
    }
    found.edge = search.edge();
    return found;
}

TEST(KlCapSearch, FindsTheStrengthThatUsesUpTheCap) {
    for (const double unit : {1e-4, 0.02, 1.0, 300.0}) {
        for (const double side : {-1.0, 1.0}) {
            const auto kl_at = [&](double strength) { return std::pow(strength / unit, 2); };
            const Found found = search(side * 0.05, kl_at);
            EXPECT_GT(found.edge * side, 0.0);
            EXPECT_LE(kl_at(found.edge), kCap);
            EXPECT_GE(kl_at(found.edge), 0.7 * kCap) << unit;
            EXPECT_LE(found.tries, 8) << unit;
        }
    }
}

TEST(KlCapSearch, HoldsForOtherGrowthThanTheSquare) {
    for (const double power : {0.7, 1.0, 4.0}) {
        const auto kl_at = [&](double strength) { return std::pow(strength, power); };
        const Found found = search(0.05, kl_at);
        EXPECT_LE(kl_at(found.edge), kCap) << power;
        EXPECT_GE(kl_at(found.edge), 0.7 * kCap) << power;
    }
}

TEST(KlCapSearch, StaysWhereClipsDoNotFail) {
    const auto kl_at = [](double strength) {
        return strength > 0.3 ? std::numeric_limits<double>::infinity() : 0.1 * strength;
    };
    const Found found = search(0.05, kl_at);
    EXPECT_LE(found.edge, 0.3);
    EXPECT_GE(found.edge, 0.25);
}

TEST(KlCapSearch, GivesUpWhereSteeringDoesNothingOrAlwaysTooMuch) {
    const Found nothing = search(0.05, [](double) { return 0.0; });
    EXPECT_GT(nothing.edge, 1e6);
    EXPECT_LE(nothing.tries, 20);
    const Found too_much = search(-0.05, [](double) { return std::numeric_limits<double>::infinity(); });
    EXPECT_EQ(too_much.edge, 0.0);
    EXPECT_LE(too_much.tries, 20);
}

}  // namespace
}  // namespace musicsteer
