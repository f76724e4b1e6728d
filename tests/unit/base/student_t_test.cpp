#include "base/student_t.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

struct Case {
    double share, degrees_of_freedom, expected;
};

// Expected: scipy 1.17.1, stats.t.ppf(share, degrees_of_freedom).
constexpr Case kScipy[] = {
    {0.975, 1, 12.706204736174694},    {0.975, 2, 4.302652729749462},    {0.975, 3, 3.1824463052837078},
    {0.975, 7, 2.364624251592784},     {0.995, 5, 4.032142983555228},    {0.9, 4, 1.533206274058944},
    {0.6, 2.5, 0.2814595127485477},    {0.025, 11, -2.2009851600916392}, {0.9995, 30, 3.6459586350420627},
    {0.975, 1000, 1.9623390808264083}, {0.975, 1e6, 1.959966356814107},  {0.5001, 3, 0.00027206990911051864},
    {0.999999, 1, 318309.88617359026}, {1e-12, 2, -707106.7811854869},
};

TEST(StudentT, QuantilesAreScipys) {
    for (const auto& [share, degrees_of_freedom, expected] : kScipy) {
        EXPECT_NEAR(student_t_quantile(share, degrees_of_freedom), expected, 1e-10 * std::abs(expected))
            << "share " << share << ", " << degrees_of_freedom << " degrees of freedom";
    }
    EXPECT_EQ(student_t_quantile(0.5, 4), 0.0);
}

TEST(StudentT, RefusesWhatHasNoAnswer) {
    for (const double share : {0.0, 1.0, -0.1, std::nan("")})
        EXPECT_THROW(student_t_quantile(share, 3), UsageError) << share;
    for (const double freedom : {0.0, -1.0, std::nan(""), HUGE_VAL})
        EXPECT_THROW(student_t_quantile(0.9, freedom), UsageError) << freedom;
}

}  // namespace
}  // namespace musicsteer
