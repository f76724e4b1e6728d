#include "base/numbers.hpp"

#include <gmock/gmock.h>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;

template <typename Call>
std::string refusal_of(Call call) {
    try {
        call();
    } catch (const UsageError& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
}

TEST(ValueLists, SeedsAreNumbersListsAndHalfOpenRanges) {
    EXPECT_THAT(parse_seeds("7"), ElementsAre(7));
    EXPECT_THAT(parse_seeds("1,2,9"), ElementsAre(1, 2, 9));
    EXPECT_THAT(parse_seeds("0:4"), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(parse_seeds("5,2:4,18446744073709551615"), ElementsAre(5, 2, 3, 18446744073709551615ULL));
}

TEST(ValueLists, SeedsThatMakeNoSenseAreRefused) {
    for (const char* text : {"", "x", "-1", "1.5", "1,,2", "3:", ":3", "1:2:3", "18446744073709551616"})
        EXPECT_THROW(parse_seeds(text), UsageError) << text;
    EXPECT_THAT(refusal_of([] { parse_seeds("5:5"); }), testing::HasSubstr("the range is empty"));
    EXPECT_THAT(refusal_of([] { parse_seeds("0:99999999"); }), testing::HasSubstr("more than a million"));
}

TEST(ValueLists, AlphaRangesHoldBothEnds) {
    EXPECT_THAT(parse_alphas("-2:2:0.5"), ElementsAre(-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0));
    EXPECT_THAT(parse_alphas("0:1:0.4"), ElementsAre(0.0, 0.4, 0.8));
    EXPECT_THAT(parse_alphas("3:3:1"), ElementsAre(3.0));
    EXPECT_THAT(parse_alphas("-1,0,2.5e-1"), ElementsAre(-1.0, 0.0, 0.25));
    EXPECT_THAT(parse_alphas("1e38,-1e-300"), ElementsAre(1e38, -1e-300));
    EXPECT_THAT(parse_alphas("-1,0:0.2:0.1"), ElementsAre(-1.0, 0.0, 0.1, 0.2));
}

TEST(ValueLists, StepsAreCountedInDecimals) {
    const std::vector<double> alphas = parse_alphas("-0.5:0.5:0.1");
    ASSERT_EQ(alphas.size(), 11U);  // binary steps of 0.1 would miss the last, and 0
    EXPECT_THAT(alphas, ElementsAre(-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5));
    EXPECT_NE(0.1 + 0.1 + 0.1, 0.3);
    EXPECT_EQ(parse_alphas("0:1e-3:1e-4").back(), 0.001);
}

TEST(ValueLists, AlphasThatMakeNoSenseAreRefused) {
    for (const char* text : {"", "loud", "nan", "inf", "1e999", "123456789012e299", "0x10", "1,", "--1",
                             "1 2", ".", "e5", "1:2"})
        EXPECT_THROW(parse_alphas(text), UsageError) << text;
    EXPECT_THAT(refusal_of([] { parse_alphas("2:-2:0.5"); }), testing::HasSubstr("empty"));
    EXPECT_THAT(refusal_of([] { parse_alphas("0:1:0"); }), testing::HasSubstr("more than 0"));
    EXPECT_THAT(refusal_of([] { parse_alphas("0:1:-0.1"); }), testing::HasSubstr("more than 0"));
    EXPECT_THAT(refusal_of([] { parse_alphas("0:1:0.00001"); }), testing::HasSubstr("10000 values"));
    EXPECT_THAT(refusal_of([] { parse_alphas("0:1e20:1e-20"); }), testing::HasSubstr("too far apart"));
}

}  // namespace
}  // namespace musicsteer
