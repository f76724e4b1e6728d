#include "tokenizer/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "musicsteer/errors.hpp"
#include "unit/tokenizer/tokenizer_documents.hpp"

namespace musicsteer::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

// --- the Unigram model ---

TEST(Tokenizer, TakesTheCutWithTheLargestSum) {
    EXPECT_THAT(encode(document({{"▁a", -1}, {"b", -1}, {"▁ab", -3}}), "ab"), ElementsAre(3, 4, 1));
    EXPECT_THAT(encode(document({{"▁a", -1}, {"b", -1}, {"▁ab", -1.5}}), "ab"), ElementsAre(5, 1));
}

TEST(Tokenizer, OfEqualCutsTakesTheOneWhoseLastPieceStartsFirst) {
    // ▁ + ab and ▁a + b both have -3.
    EXPECT_THAT(encode(document({{"▁", -1}, {"ab", -2}, {"▁a", -2}, {"b", -1}}), "ab"), ElementsAre(3, 4, 1));
}

TEST(Tokenizer, ReadsScoresAsTheNearestDoubles) {
    json doc = document({{"▁", 0}, {"a", -5.212743759155273}, {"b", -5.212743759155273}});
    doc["model"]["vocab"].push_back({"ab", -10.425487518310547});
    ASSERT_EQ(2 * -5.212743759155273, -10.425487518310547);
    EXPECT_THAT(encode(doc, "ab"), ElementsAre(3, 6, 1)) << "a tie, in which the whole is found first";
}

TEST(Tokenizer, JoinsNeighbouringUnknowns) {
    const json doc = document({{"▁", -1}, {"a", -1}});
    EXPECT_THAT(encode(doc, "☃xya"), ElementsAre(3, 2, 4, 1));
    EXPECT_THAT(encode(doc, "☃ x"), ElementsAre(3, 2, 3, 2, 1)) << "but not across words";
}

TEST(Tokenizer, UnknownCostsTenMoreThanTheWorstPiece) {
    // The specials have 0 and would be the worst: give the whole list large scores. An unknown then has 25
    // - 10.
    const auto doc = [](double abc) {
        json d = document({{"▁", 100}, {"abc", abc}, {"c", 25}});
        for (std::size_t i = 0; i < 3; ++i) d["model"]["vocab"][i][1] = 100;
        return d;
    };
    EXPECT_THAT(encode(doc(54), "abc"), ElementsAre(3, 2, 5, 1));  // 15 + 15 + 25 = 55
    EXPECT_THAT(encode(doc(56), "abc"), ElementsAre(3, 4, 1));
}

TEST(Tokenizer, JoinedUnknownsThatSpellAPieceAreThatPiece) {
    json doc = document({{"▁", 100}, {"ab", 50}});
    for (std::size_t i = 0; i < 3; ++i) doc["model"]["vocab"][i][1] = 100;
    EXPECT_THAT(encode(doc, "ab"), ElementsAre(3, 4, 1));  // two unknowns have 80
}

TEST(Tokenizer, OfEqualPiecesTheLastCounts) {
    EXPECT_THAT(encode(document({{"▁a", -1}, {"▁a", -2}}), "a"), ElementsAre(4, 1));
}

TEST(Tokenizer, TakesWordsOfAnyLength) {
    const std::size_t length = 100'000;
    const Ids ids = encode(document({{"▁", -1}, {"aa", -1}, {"a", -1}}), std::string(length, 'a'));
    ASSERT_EQ(ids.size(), 1 + length / 2 + 1);
    EXPECT_EQ(ids[1], 4);
}

// --- words ---

TEST(Tokenizer, CutsAtWhiteSpaceAndMarksWords) {
    const json doc = document({{"▁", -1}, {"a", -1}, {"b", -1}, {"▁a", -1}});
    const Ids two_words{6, 3, 5, 1};
    for (const char* text : {"a b", " a  b ", "a\tb\r\n", "a\u00A0b", "a\u0085b", "a\u3000b", "▁a b"}) {
        EXPECT_EQ(encode(doc, text), two_words) << text;
    }
    EXPECT_THAT(encode(doc, "a\u200Bb"), ElementsAre(6, 2, 5, 1)) << "a zero-width space is no white space";
    EXPECT_THAT(encode(doc, "a▁b"), ElementsAre(6, 3, 5, 1)) << "the mark in the text cuts, too";
}

// --- normalisation ---

TEST(Tokenizer, MapsClustersByTheirShortestPrefix) {
    json doc = document({{"▁", -1}, {"f", -1}, {"i", -1}, {"\u0301", -1}, {"x", -1}});
    doc["normalizer"] = precompiled(charsmap({{"ﬁ", "fi"}, {"ﬁ\u0301", "x"}, {"é", "x"}, {"\x01", ""}}));
    EXPECT_THAT(encode(doc, "ﬁ"), ElementsAre(3, 4, 5, 1));
    EXPECT_THAT(encode(doc, "ﬁ\u0301"), ElementsAre(3, 4, 5, 1)) << "5 bytes: the accent is lost";
    EXPECT_THAT(encode(doc, "ﬁ\u0301\u0301"), ElementsAre(3, 4, 5, 6, 6, 1)) << "7 bytes: each by itself";
    EXPECT_THAT(encode(doc, "é"), ElementsAre(3, 7, 1));
    EXPECT_THAT(encode(doc, "e\u0301"), ElementsAre(3, 2, 6, 1)) << "no prefix of it is in the map";
    EXPECT_THAT(encode(doc, "\x01"), ElementsAre(1));
    EXPECT_THAT(encode(doc, std::string("f\0i", 3)), ElementsAre(3, 4, 2, 5, 1)) << "NUL survives";
}

// --- tokens beside the vocabulary ---

TEST(Tokenizer, EndsEveryTextWithTheEnd) {
    EXPECT_THAT(encode(document({}), ""), ElementsAre(1));
    EXPECT_THAT(encode(document({}), " \t\n"), ElementsAre(1));
    json doc = document({{"▁", -1}, {"</s>", -1}});  // of equal pieces the last counts
    doc["post_processor"]["special_tokens"]["</s>"]["ids"] = {4};
    EXPECT_THAT(encode(doc, ""), ElementsAre(4));
}

TEST(Tokenizer, FindsAddedTokensInTheText) {
    json doc = document({{"▁", -1}, {"a", -1}, {"<", -1}, {"/", -1}, {"s", -1}, {">", -1}});
    EXPECT_THAT(encode(doc, "a</s>"), ElementsAre(3, 4, 1, 1)) << "a piece of the model as any other";
    doc["added_tokens"] = {added_token("</s>", 1), added_token("<new>", 9), added_token("<new>er", 10)};
    EXPECT_THAT(encode(doc, "a</s>a"), ElementsAre(3, 4, 1, 3, 4, 1));
    EXPECT_THAT(encode(doc, "<new><new>er"), ElementsAre(9, 10, 1))
        << "ids after the vocabulary's, longest first";
    const Tokenizer tokenizer = parse(doc);
    EXPECT_EQ(tokenizer.vocab_size(), 11U);
    EXPECT_EQ(tokenizer.piece(10), "<new>er");
    EXPECT_EQ(tokenizer.piece(4), "a");
    EXPECT_THAT([&] { tokenizer.piece(11); }, ThrowsMessage<InputError>(HasSubstr("from 0 to 10")));
    EXPECT_THAT([&] { tokenizer.piece(-1); }, ThrowsMessage<InputError>(HasSubstr("-1")));
}

TEST(Tokenizer, AddedTokensTakeWhiteSpaceWithThem) {
    json doc = document({{"▁", -1}, {"a", -1}, {"x", -1}});
    doc["normalizer"] = precompiled(charsmap({{" ", "x"}, {"\u3000", "x"}}));  // shows what was left
    doc["added_tokens"] = {added_token("[b]", 6)};
    json& token = doc["added_tokens"][0];
    EXPECT_THAT(encode(doc, "a [b] a"), ElementsAre(3, 4, 5, 6, 3, 5, 4, 1));
    token["lstrip"] = true;
    EXPECT_THAT(encode(doc, "a \u3000[b] a"), ElementsAre(3, 4, 6, 3, 5, 4, 1));
    token["rstrip"] = true;
    EXPECT_THAT(encode(doc, "a [b] a"), ElementsAre(3, 4, 6, 3, 4, 1));
    EXPECT_THAT(encode(doc, " [b] "), ElementsAre(6, 1));
}

TEST(Tokenizer, LooksForAddedTokensBeforeNormalisation) {
    json doc = document({{"▁", -1}, {"n", -1}});
    doc["normalizer"] = precompiled(charsmap({{"N", "n"}}));
    doc["added_tokens"] = {added_token("nn", 5)};
    EXPECT_THAT(encode(doc, "nn"), ElementsAre(5, 1));
    EXPECT_THAT(encode(doc, "NN"), ElementsAre(3, 4, 4, 1));
}

TEST(Tokenizer, IsSafeToShareBetweenThreads) {
    const Tokenizer tokenizer = parse(document({{"▁", -1}, {"a", -1}, {"aa", -1.5}}));
    const Ids expected = tokenizer.encode("aaa a ☃");
    std::vector<Ids> results(4);
    std::vector<std::thread> threads;
    for (Ids& result : results) {
        threads.emplace_back([&result, tokenizer] {
            for (int i = 0; i < 200; ++i) result = tokenizer.encode("aaa a ☃");
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Ids& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace musicsteer::test
