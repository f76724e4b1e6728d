#include "tokenizer/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/errors.hpp"
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

TEST(Tokenizer, ReadsScoresWithSerdesRounding) {
    // As the nearest doubles, ab = a + b, and ab would stay. serde_json reads ab's score one step lower.
    json doc = document({{"▁", 0}, {"a", -5.212743759155273}, {"b", -5.212743759155273}});
    doc["model"]["vocab"].push_back({"ab", -10.425487518310547});
    ASSERT_EQ(2 * -5.212743759155273, -10.425487518310547);
    EXPECT_THAT(encode(doc, "ab"), ElementsAre(3, 4, 5, 1));
}

TEST(Tokenizer, UnderstandsEverySpellingOfANumber) {
    const std::string text = document({}).dump();
    const auto with_scores = [&](const std::string& ab, const std::string& a_and_b) {
        const std::string pieces = R"(["▁", 0], ["ab", )" + ab + R"(], ["a", )" + a_and_b + R"(], ["b", 0])";
        std::string changed = text;
        const std::string last = R"(["<unk>",0.0])";
        changed.replace(changed.find(last), last.size(), last + "," + pieces);
        return Tokenizer::parse(changed, "test.json").encode("ab").size();
    };
    constexpr std::size_t kTogether = 3;  // ▁ ab </s>
    constexpr std::size_t kApart = 4;
    EXPECT_EQ(with_scores("-1.5e2", "-150.5"), kTogether);
    EXPECT_EQ(with_scores("-1.5E+2", "-149.5"), kApart);
    EXPECT_EQ(with_scores("-2500e-1", "-250.1"), kTogether);
    EXPECT_EQ(with_scores("-123456789012345678901234567890.5", "-123456789012345678901234567890e1"),
              kTogether);
    EXPECT_EQ(with_scores("-0.00000000000000000000000000012345678901234567890123", "-1e-300"), kApart);
    EXPECT_EQ(with_scores("-1e-400", "-1e-300"), kTogether);
    EXPECT_EQ(with_scores("-18446744073709551616", "-18446744073709551615"), kTogether);  // both are 2^64
}

TEST(Tokenizer, JoinsNeighbouringUnknowns) {
    const json doc = document({{"▁", -1}, {"a", -1}});
    EXPECT_THAT(encode(doc, "☃xya"), ElementsAre(3, 2, 4, 1));
    EXPECT_THAT(encode(doc, "☃ x"), ElementsAre(3, 2, 3, 2, 1)) << "but not across words";
    EXPECT_EQ(parse(doc).unk_id(), 2);
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

TEST(Tokenizer, SpellsUnknownsInBytesWhenAllArePieces) {
    json doc = document({{"▁", -1}, {"<0xC3>", -9}, {"<0xA9>", -9}});
    doc["model"]["byte_fallback"] = true;
    EXPECT_THAT(encode(doc, "é"), ElementsAre(3, 4, 5, 1));
    EXPECT_THAT(encode(doc, "è"), ElementsAre(3, 2, 1)) << "<0xA8> is no piece";
    doc["model"]["byte_fallback"] = false;
    EXPECT_THAT(encode(doc, "é"), ElementsAre(3, 2, 1));
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

TEST(Tokenizer, PutsTheMarkWhereTheSchemeSays) {
    json doc = document({{"▁", -1}, {"a", -1}});
    doc["added_tokens"].push_back(added_token("</s>"));
    metaspace(doc)["prepend_scheme"] = "first";
    EXPECT_THAT(encode(doc, "a a"), ElementsAre(3, 4, 4, 1));
    EXPECT_THAT(encode(doc, " a"), ElementsAre(4, 1)) << "the word does not start where the text does";
    EXPECT_THAT(encode(doc, "</s>a"), ElementsAre(1, 4, 1));
    metaspace(doc)["prepend_scheme"] = "never";
    EXPECT_THAT(encode(doc, "a a"), ElementsAre(4, 4, 1));
}

TEST(Tokenizer, ReadsTheOlderSpellingOfMetaspace) {
    json doc = document({{"▁", -1}, {"a", -1}});
    metaspace(doc) = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", true}, {"str_rep", "▁"}};
    EXPECT_THAT(encode(doc, "a"), ElementsAre(3, 4, 1));
    metaspace(doc)["add_prefix_space"] = false;
    EXPECT_THAT(encode(doc, "a"), ElementsAre(4, 1));
}

TEST(Tokenizer, MetaspaceAloneKeepsOtherWhiteSpace) {
    json doc = document({{"▁", -1}, {"a", -1}, {"▁a", -1}, {"▁a▁a", -1}});
    doc["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
    EXPECT_THAT(encode(doc, "a a  a\n"), ElementsAre(5, 5, 3, 5, 2, 1));
    doc["pre_tokenizer"]["split"] = false;
    EXPECT_THAT(encode(doc, "a a"), ElementsAre(6, 1));
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

TEST(Tokenizer, AWordThatAMapMovedToTheStartIsFirst) {
    json doc = document({{"▁", -1}, {"a", -1}});
    doc["normalizer"] = precompiled(charsmap({{"\x01", ""}}));
    metaspace(doc)["prepend_scheme"] = "first";
    EXPECT_THAT(encode(doc,
                       "\x01"
                       "a a"),
                ElementsAre(3, 4, 4, 1));
}

TEST(Tokenizer, AppliesStepsInTurn) {
    json doc = document({{"▁", -1}, {"a", -1}, {"b", -1}, {"▁b", -1}});
    doc["pre_tokenizer"] = nullptr;
    doc["normalizer"] = {{"type", "Sequence"},
                         {"normalizers",
                          {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}},
                           {{"type", "Replace"}, {"pattern", {{"Regex", "\\s{2,}"}}}, {"content", "▁"}},
                           {{"type", "Lowercase"}},
                           {{"type", "Replace"}, {"pattern", {{"String", "aa"}}}, {"content", "b"}}}}};
    EXPECT_THAT(encode(doc, "  A \u00A0 Aaa \n"), ElementsAre(4, 6, 4, 1));
    EXPECT_THAT(encode(doc, " \n "), ElementsAre(1));
    doc["normalizer"]["normalizers"][1]["pattern"] = {{"Regex", " {2,}"}};
    EXPECT_THAT(encode(doc, "a  b \u00A0a"), ElementsAre(4, 6, 2, 4, 1));
}

TEST(Tokenizer, LowercasesLikeUnicode17) {
    json doc =
        document({{"▁", -1}, {"i", -1}, {"\u0307", -1}, {"é", -1}, {"\u0264", -1}, {"\U00010D70", -1}});
    doc["normalizer"] = {{"type", "Lowercase"}};
    EXPECT_THAT(encode(doc, "\u0130"), ElementsAre(3, 4, 5, 1)) << "two characters";
    EXPECT_THAT(encode(doc, "IÉ"), ElementsAre(3, 4, 6, 1));
    EXPECT_THAT(encode(doc, "\uA7CB\U00010D50"), ElementsAre(3, 7, 8, 1)) << "younger than utf8proc 2.8";
}

// --- tokens beside the vocabulary ---

TEST(Tokenizer, AddsWhatTheTemplateSays) {
    json doc = document({{"▁a", -1}});
    EXPECT_THAT(encode(doc, ""), ElementsAre(1));
    json& single = doc["post_processor"]["single"];
    const json start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
    single.insert(single.begin(), start);
    doc["post_processor"]["special_tokens"]["<s>"] = {{"id", "<s>"}, {"ids", {0, 2}}, {"tokens", {"", ""}}};
    EXPECT_THAT(encode(doc, "a"), ElementsAre(0, 2, 3, 1));
    doc["post_processor"] = nullptr;
    EXPECT_THAT(encode(doc, "a"), ElementsAre(3));
}

TEST(Tokenizer, FindsAddedTokensInTheText) {
    json doc = document({{"▁", -1}, {"a", -1}, {"<", -1}, {"/", -1}, {"s", -1}, {">", -1}});
    EXPECT_THAT(encode(doc, "a</s>"), ElementsAre(3, 4, 1, 1)) << "a piece of the model as any other";
    doc["added_tokens"] = {added_token("</s>"), added_token("<new>"), added_token("<new>er")};
    EXPECT_THAT(encode(doc, "a</s>a"), ElementsAre(3, 4, 1, 3, 4, 1));
    EXPECT_THAT(encode(doc, "<new><new>er"), ElementsAre(9, 10, 1))
        << "ids after the vocabulary's, longest first";
    const Tokenizer tokenizer = parse(doc);
    EXPECT_EQ(tokenizer.vocab_size(), 11U);
    EXPECT_EQ(tokenizer.piece(10), "<new>er");
    EXPECT_EQ(tokenizer.piece(4), "a");
    EXPECT_EQ(tokenizer.id_of("<new>"), 9);
    EXPECT_EQ(tokenizer.id_of("a"), 4);
    EXPECT_EQ(tokenizer.id_of("nowhere"), std::nullopt);
    EXPECT_THAT([&] { tokenizer.piece(11); }, ThrowsMessage<InputError>(HasSubstr("from 0 to 10")));
    EXPECT_THAT([&] { tokenizer.piece(-1); }, ThrowsMessage<InputError>(HasSubstr("-1")));
}

TEST(Tokenizer, AddedTokensHeedTheirFlags) {
    json doc = document({{"▁", -1}, {"a", -1}, {"[", -1}, {"]", -1}, {"x", -1}, {" ", -1}});
    doc["pre_tokenizer"] = nullptr;
    doc["added_tokens"] = {added_token("[x]")};
    json& token = doc["added_tokens"][0];
    EXPECT_THAT(encode(doc, "a [x] a"), ElementsAre(4, 8, 9, 8, 4, 1));
    token["lstrip"] = true;
    EXPECT_THAT(encode(doc, "a \u3000[x] a"), ElementsAre(4, 9, 8, 4, 1));
    token["rstrip"] = true;
    EXPECT_THAT(encode(doc, "a [x] a"), ElementsAre(4, 9, 4, 1));
    token["single_word"] = true;
    EXPECT_THAT(encode(doc, "a[x] [x]"), ElementsAre(4, 5, 7, 6, 9, 1));
    for (const char* word_character : {"_", "\u0301", "٣", "Ⓐ", "\u200D", "\U00016131"}) {
        const Ids ids = encode(doc, word_character + std::string("[x]"));
        EXPECT_THAT(ids, testing::Not(testing::Contains(9))) << word_character;
    }
}

TEST(Tokenizer, NormalizedAddedTokensMatchAfterNormalisation) {
    json doc = document({{"▁", -1}, {"n", -1}, {"N", -1}});
    doc["normalizer"] = {{"type", "Lowercase"}};
    doc["added_tokens"] = {added_token("NN")};
    EXPECT_THAT(encode(doc, "NN"), ElementsAre(6, 1));
    EXPECT_THAT(encode(doc, "nN"), ElementsAre(3, 4, 4, 1));
    doc["added_tokens"][0]["normalized"] = true;
    EXPECT_THAT(encode(doc, "nN"), ElementsAre(6, 1));
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
