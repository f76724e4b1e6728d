#include "musicsteer/errors.hpp"

#include <gtest/gtest.h>

namespace musicsteer {
namespace {

const std::vector<std::string> kSites = {"resid_pre", "self_attn_out", "cross_attn_out", "mlp_out",
                                         "resid_post"};

TEST(DidYouMean, NamesTheNearest) {
    EXPECT_EQ(did_you_mean("resid_pst", kSites), ", did you mean 'resid_post'?");  // one letter left out
    EXPECT_EQ(did_you_mean("mlp_outt", kSites), ", did you mean 'mlp_out'?");      // one too many
    EXPECT_EQ(did_you_mean("resid_prx", kSites), ", did you mean 'resid_pre'?");   // one wrong
    EXPECT_EQ(did_you_mean("crossattnout", kSites), ", did you mean 'cross_attn_out'?");
}

TEST(DidYouMean, CountsASwapOfNeighboursAsOneMistake) {
    const std::vector<std::string> names = {"abcx", "abdc"};
    EXPECT_EQ(did_you_mean("abcd", names), ", did you mean 'abcx'?");  // equally near: the first
    EXPECT_EQ(did_you_mean("badc", names), ", did you mean 'abdc'?");  // one swap against three changes
}

TEST(DidYouMean, IgnoresCapitals) {
    EXPECT_EQ(did_you_mean("MLP_OUT", kSites), ", did you mean 'mlp_out'?");
}

TEST(DidYouMean, SaysNothingWhenNoneIsNear) {
    EXPECT_EQ(did_you_mean("gaussian", kSites), "");
    EXPECT_EQ(did_you_mean("", kSites), "");
    EXPECT_EQ(did_you_mean("resid_post", {}), "");
    const std::vector<std::string> letters = {"b"};
    EXPECT_EQ(did_you_mean("a", letters), "");  // nothing of the name would be left
}

TEST(DidYouMean, DoesNotSpendTimeOnAbsurdNames) {
    EXPECT_EQ(did_you_mean(std::string(1'000'000, 'r'), kSites), "");
    const std::vector<std::string> absurd = {std::string(1'000'000, 'r')};
    EXPECT_EQ(did_you_mean("rrr", absurd), "");
}

TEST(InQuotes, ShowsControlCharacters) {
    EXPECT_EQ(in_quotes("tempo"), "'tempo'");
    EXPECT_EQ(in_quotes(""), "''");
    EXPECT_EQ(in_quotes("a\nb\x1b[31m\x7f"), "'a\\x0ab\\x1b[31m\\x7f'");
    EXPECT_EQ(in_quotes("größe"), "'größe'");
}

TEST(InQuotes, CutsLongTextBetweenCharacters) {
    EXPECT_EQ(in_quotes(std::string(80, 'x')), "'" + std::string(80, 'x') + "'");
    EXPECT_EQ(in_quotes(std::string(81, 'x')), "'" + std::string(80, 'x') + "...'");
    // Byte 80 is inside the second "ö".
    EXPECT_EQ(in_quotes(std::string(77, 'x') + "ööö"), "'" + std::string(77, 'x') + "ö...'");
}

}  // namespace
}  // namespace musicsteer
