#include "musicsteer/schedule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kScheduleFrameRateHz = 10.0;

/// Factors of the first positions of a clip of 6 frames.
std::vector<double> factors(const std::string& text, std::int64_t positions = 8) {
    const Schedule schedule = Schedule::parse(text);
    std::vector<double> found;
    for (std::int64_t p = 0; p < positions; ++p) found.push_back(schedule.at(p, 6, kScheduleFrameRateHz));
    return found;
}

TEST(ScheduleTest, ConstantIsOne) {
    EXPECT_THAT(factors("constant", 3), ElementsAre(1, 1, 1));
    EXPECT_TRUE(Schedule::parse("constant").is_constant());
    EXPECT_TRUE(Schedule().is_constant());
    EXPECT_FALSE(Schedule::parse("linear,1,1").is_constant());
}

TEST(ScheduleTest, DecaysToItsFloor) {
    EXPECT_THAT(factors("decay,0.5,0.2", 4), ElementsAre(1, 0.5, 0.25, 0.2));
    EXPECT_THAT(factors("decay,0.5", 4), ElementsAre(1, 0.5, 0.25, 0.125));
}

TEST(ScheduleTest, LinearEndsWithTheClip) {
    EXPECT_THAT(factors("linear,1,0"),
                ElementsAre(1, 0.8, 0.6, 0.4, testing::DoubleNear(0.2, 1e-12), 0, 0, 0));
    EXPECT_THAT(factors("linear,-1,1", 1), ElementsAre(-1));
}

TEST(ScheduleTest, WindowsAreInSecondsAndLeaveOutTheirEnd) {
    EXPECT_THAT(factors("window,0.1,0.3"), ElementsAre(0, 1, 1, 0, 0, 0, 0, 0));
    EXPECT_THAT(factors("window,0,0.1,0.4,99"), ElementsAre(1, 0, 0, 0, 1, 1, 1, 1));
}

TEST(ScheduleTest, TextIsReadBackTheSame) {
    for (const std::string text : {"constant", "decay,0.998,0.1", "linear,1,-0.5", "window,0,2,4.5,6"})
        EXPECT_EQ(Schedule::parse(text).text(), text);
    EXPECT_EQ(Schedule::parse("decay,0.9").text(), "decay,0.9,0");
}

TEST(ScheduleTest, NonsenseIsRefusedWithWhatIsExpected) {
    for (const std::string text :
         {"decay", "decay,0", "decay,1.1", "decay,0.9,2", "decay,0.9,0,0", "linear,1", "linear,1,nan",
          "linear,1,2x", "window", "window,1", "window,2,1", "window,-1,1", "window,1,1", "constant,1",
          "exponential,0.9"}) {
        EXPECT_THAT([&] { (void)Schedule::parse(text); },
                    testing::ThrowsMessage<UsageError>(HasSubstr("schedule '" + text + "'")))
            << text;
    }
    EXPECT_THROW((void)Schedule::parse(""), UsageError);
}

TEST(RandomFramesTest, AreSplitMix64) {
    // The generator's published first outputs for seed 1234567: 6457827717110365317, 3203168211198807973.
    const double first = 6457827717110365317.0 / 18446744073709551616.0;
    const double second = 3203168211198807973.0 / 18446744073709551616.0;
    EXPECT_TRUE((RandomFrames{first + 1e-9, 1234567}.contains(0)));
    EXPECT_FALSE((RandomFrames{first - 1e-9, 1234567}.contains(0)));
    EXPECT_TRUE((RandomFrames{second + 1e-9, 1234567}.contains(1)));
    EXPECT_FALSE((RandomFrames{second - 1e-9, 1234567}.contains(1)));
}

TEST(RandomFramesTest, ShareIsTheProbability) {
    const RandomFrames frames{0.3, 7};
    int inside = 0;
    for (std::int64_t p = 0; p < 10000; ++p) inside += frames.contains(p) ? 1 : 0;
    EXPECT_NEAR(inside, 3000, 150);
    EXPECT_TRUE(RandomFrames().all());
    EXPECT_TRUE(RandomFrames().contains(12345));
    EXPECT_FALSE((RandomFrames{0.0, 7}.contains(0)));
}

}  // namespace
}  // namespace musicsteer
