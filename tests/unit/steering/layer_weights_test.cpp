#include "musicsteer/layer_weights.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

std::vector<double> weights(const std::string& text) {
    return LayerWeights::parse(text).of(std::vector<double>{0.5, 2.0, -1.0, 2.0, 1.5});
}

TEST(LayerWeights, UniformIsTheDefault) {
    EXPECT_THAT(weights("uniform"), ElementsAre(1, 1, 1, 1, 1));
    EXPECT_TRUE(LayerWeights().is_uniform());
    EXPECT_EQ(LayerWeights().text(), "uniform");
}

TEST(LayerWeights, TopKeepsTheLargestAndOfEqualOnesTheFirst) {
    EXPECT_THAT(weights("top-1"), ElementsAre(0, 1, 0, 0, 0));
    EXPECT_THAT(weights("top-3"), ElementsAre(0, 1, 0, 1, 1));
    EXPECT_THAT(weights("top-5"), ElementsAre(1, 1, 1, 1, 1));
    EXPECT_THAT(
        [] { weights("top-6"); },
        ThrowsMessage<UsageError>(StrEq("weights top-6: K is larger than the number of steered layers, 5")));
}

TEST(LayerWeights, ExponentialFallsWithTheRank) {
    EXPECT_THAT(weights("exponential,0.5"), ElementsAre(DoubleEq(0.125), 1, DoubleEq(0.0625), 0.5, 0.25));
    EXPECT_THAT(weights("exponential,1"), ElementsAre(1, 1, 1, 1, 1));
}

TEST(LayerWeights, TextIsReadBack) {
    for (const std::string text : {"uniform", "top-3", "exponential,0.7"})
        EXPECT_EQ(LayerWeights::parse(text).text(), text);
}

TEST(LayerWeights, Malformed) {
    for (const std::string text :
         {"", "top", "top-", "top-0", "top--1", "top-1.5", "top-2x", "exponential", "exponential,",
          "exponential,0", "exponential,1.1", "exponential,nan", "exponential,0.5,1", "Uniform"}) {
        EXPECT_THAT([&] { LayerWeights::parse(text); },
                    ThrowsMessage<UsageError>(HasSubstr("expected uniform, top-K")))
            << text;
    }
}

}  // namespace
}  // namespace musicsteer
