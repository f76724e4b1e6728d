#include "recordings/like_extraction.hpp"

#include <gtest/gtest.h>

namespace musicsteer {
namespace {

TEST(ContrastSize, IsAtLeastThatOfTheRecordings) {
    EXPECT_EQ(contrast_size(3, 1), 24);
    EXPECT_EQ(contrast_size(24, 1), 24);
    EXPECT_EQ(contrast_size(31, 1), 31);
}

TEST(ContrastSize, HoldsEachPromptEquallyOften) {
    EXPECT_EQ(contrast_size(3, 10), 30);
    EXPECT_EQ(contrast_size(3, 64), 64);
    EXPECT_EQ(contrast_size(65, 64), 128);
}

TEST(SidesLike, AreLabelledByTheFolder) {
    const RecordingSides sides = sides_like({}, "music/fast/");
    EXPECT_EQ(sides.concept_name, "fast");
    EXPECT_EQ(sides.positive_label, "fast");
    EXPECT_EQ(sides.negative_label, "generated");
    EXPECT_EQ(sides_like({}, "generated").negative_label, "negative");
}

}  // namespace
}  // namespace musicsteer
