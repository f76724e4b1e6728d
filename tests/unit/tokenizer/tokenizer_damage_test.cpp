// Texts and tokenizer.json files that the tokenizer refuses, each with a sentence that names the place.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/errors.hpp"
#include "tokenizer/tokenizer.hpp"
#include "unit/tokenizer/tokenizer_documents.hpp"

namespace musicsteer::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(TokenizerDamage, RefusesTextThatIsNotUtf8) {
    const Tokenizer tokenizer = parse(document({{"a", -1}}));
    const auto refused_at = [&](const std::string& text, const std::string& offset) {
        EXPECT_THAT([&] { tokenizer.encode(text); },
                    ThrowsMessage<InputError>(AllOf(HasSubstr("not UTF-8"), HasSubstr("byte " + offset))));
    };
    refused_at("\xFF", "0");
    refused_at("ab\x80", "2");
    refused_at("é\xC3", "2");              // cut off
    refused_at("a\xC0\xAF", "1");          // overlong
    refused_at("a\xED\xA0\x80", "1");      // a surrogate
    refused_at("a\xF4\x90\x80\x80", "1");  // beyond U+10FFFF
}

TEST(TokenizerDamage, NamesAFileThatIsMissing) {
    EXPECT_THAT(
        [] { Tokenizer::load("/nowhere/tokenizer.json"); },
        ThrowsMessage<InputError>(AllOf(HasSubstr("/nowhere/tokenizer.json"), HasSubstr("cannot be read"))));
}

struct Damage {
    const char* name;
    std::function<void(json&)> apply;
    const char* place;
    const char* complaint;
};

class RefusedTokenizer : public testing::TestWithParam<Damage> {};

TEST_P(RefusedTokenizer, WithASentence) {
    json doc = document({{"▁", -1}, {"a", -1}});
    doc["added_tokens"] = {added_token("</s>")};
    GetParam().apply(doc);
    EXPECT_THAT([&] { parse(doc); }, ThrowsMessage<InputError>(AllOf(HasSubstr("test.json: tokenizer"),
                                                                     HasSubstr(GetParam().place),
                                                                     HasSubstr(GetParam().complaint))));
}

std::string with_size(std::uint32_t size) {
    return u32(size) + charsmap({{"a", "b"}}).substr(4);
}

std::string with_unit(std::size_t index, std::uint32_t unit) {
    return charsmap({{"a", "b"}}).replace(4 + 4 * index, 4, u32(unit));
}

const Damage kDamages[] = {
    {"NoModel", [](json& d) { d.erase("model"); }, "tokenizer: ", "has no \"model\""},
    {"NotAnObject", [](json& d) { d = 3; }, "tokenizer: ", "an object and is 3"},
    {"OtherModel", [](json& d) { d["model"]["type"] = "BPE"; }, ".model.type", "model BPE is not supported"},
    {"NoVocab", [](json& d) { d["model"].erase("vocab"); }, ".model: ", "has no \"vocab\""},
    {"EmptyVocab", [](json& d) { d["model"]["vocab"] = json::array(); }, ".model.vocab", "an array of 0"},
    {"VocabNoArray", [](json& d) { d["model"]["vocab"] = "x"; }, ".model.vocab", "the text \"x\""},
    {"PieceNoText", [](json& d) { d["model"]["vocab"][3][0] = 7; }, ".vocab[3][0]", "a text and is 7"},
    {"ScoreNoNumber", [](json& d) { d["model"]["vocab"][3][1] = "-1"; }, ".vocab[3][1]", "a number"},
    {"ScoreMissing", [](json& d) { d["model"]["vocab"][3].erase(1); }, ".vocab[3]", "a piece and its score"},
    {"UnkMissing", [](json& d) { d["model"].erase("unk_id"); }, ".model: ", "has no \"unk_id\""},
    {"UnkNull", [](json& d) { d["model"]["unk_id"] = nullptr; }, ".model.unk_id", "is null"},
    {"UnkTooLarge", [](json& d) { d["model"]["unk_id"] = 5; }, ".model.unk_id",
     "less than the 5 pieces and is 5"},
    {"UnkNegative", [](json& d) { d["model"]["unk_id"] = -1; }, ".model.unk_id", "is -1"},
    {"UnkFraction", [](json& d) { d["model"]["unk_id"] = 1.5; }, ".model.unk_id", "is 1.5"},
    {"FallbackNoBool", [](json& d) { d["model"]["byte_fallback"] = 1; }, ".byte_fallback", "true or false"},
    {"OtherNormalizer",
     [](json& d) {
         d["normalizer"] = {{"type", "NFKC"}};
     },
     ".normalizer.type", "NFKC"},
    {"NormalizerUntyped", [](json& d) { d["normalizer"] = json::object(); },
     ".normalizer: ", "has no \"type\""},
    {"OtherRegex",
     [](json& d) {
         d["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "[a-z]"}}}, {"content", ""}};
     },
     ".normalizer.pattern.Regex", "'[a-z]' is not supported"},
    {"EmptyPattern",
     [](json& d) {
         d["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "x"}};
     },
     ".normalizer.pattern.String", "not empty"},
    {"OtherPreTokenizer",
     [](json& d) {
         d["pre_tokenizer"] = {{"type", "ByteLevel"}};
     },
     ".pre_tokenizer.type", "pre-tokenizer ByteLevel is not supported"},
    {"LongReplacement", [](json& d) { metaspace(d)["replacement"] = "ab"; }, ".replacement", "one character"},
    {"EmptyReplacement", [](json& d) { metaspace(d)["replacement"] = ""; }, ".replacement", "one character"},
    {"OtherScheme", [](json& d) { metaspace(d)["prepend_scheme"] = "last"; }, "[1].prepend_scheme",
     "\"last\""},
    {"SchemesDisagree", [](json& d) { metaspace(d)["add_prefix_space"] = false; }, ".add_prefix_space",
     "always"},
    {"OtherPostProcessor",
     [](json& d) {
         d["post_processor"] = {{"type", "Roberta"}};
     },
     ".post_processor.type", "post-processor Roberta is not supported"},
    {"TemplateUnknownToken", [](json& d) { d["post_processor"]["special_tokens"] = json::object(); },
     ".special_tokens", "has no \"</s>\""},
    {"TemplateSecondText", [](json& d) { d["post_processor"]["single"][0]["Sequence"]["id"] = "B"; },
     ".single[0].Sequence.id", "\"A\""},
    {"TemplateNoText", [](json& d) { d["post_processor"]["single"].erase(0); }, ".single",
     "without the text"},
    {"TemplateIdTooLarge", [](json& d) { d["post_processor"]["special_tokens"]["</s>"]["ids"] = {5}; },
     ".ids[0]", "less than 5"},
    {"AddedIncomplete", [](json& d) { d["added_tokens"][0].erase("lstrip"); }, ".added_tokens[0]",
     "\"lstrip\""},
    {"AddedNoArray", [](json& d) { d["added_tokens"] = json::object(); }, ".added_tokens", "an array"},
    {"AddedNothing",
     [](json& d) {
         d["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
         d["added_tokens"][0]["content"] = " ";
         d["added_tokens"][0]["normalized"] = true;
     },
     ".added_tokens", "is nothing after normalisation"},
    {"MapNoText",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", nullptr}};
     },
     ".precompiled_charsmap", "a text and is null"},
    {"MapBadBase64",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AB*="}};
     },
     ".precompiled_charsmap", "not base64 at character 2"},
    {"MapBase64Length",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "ABC"}};
     },
     ".precompiled_charsmap", "multiple of 4 and is 3"},
    {"MapEmpty", [](json& d) { d["normalizer"] = precompiled(""); }, ".precompiled_charsmap", "has 0"},
    {"MapTruncated",
     [](json& d) {
         d["normalizer"] = precompiled(charsmap({{"a", "b"}}).substr(0, 900));
     },
     ".precompiled_charsmap", "at most the 896 that follow"},
    {"MapSizeZero", [](json& d) { d["normalizer"] = precompiled(with_size(0)); }, ".precompiled_charsmap",
     "0 bytes"},
    {"MapSizeOdd", [](json& d) { d["normalizer"] = precompiled(with_size(1023)); }, ".precompiled_charsmap",
     "1023"},
    {"MapSizeHuge", [](json& d) { d["normalizer"] = precompiled(with_size(0xFFFFFFFC)); },
     ".precompiled_charsmap", "4294967292"},
    {"MapSizeSmall", [](json& d) { d["normalizer"] = precompiled(with_size(1024)); }, ".precompiled_charsmap",
     "after the trie"},
    {"MapRootAway", [](json& d) { d["normalizer"] = precompiled(with_unit(0, 0x3FFFFFU << 10)); },
     ".precompiled_charsmap", "leads out of itself"},
    {"MapValueAway", [](json& d) { d["normalizer"] = precompiled(with_unit(512, 1U << 31 | 3U)); },
     ".precompiled_charsmap", "do not fit its replacements"},
    {"MapReplacementNoUtf8",
     [](json& d) {
         d["normalizer"] = precompiled(charsmap({{"a", "b\xFF"}}));
     },
     ".precompiled_charsmap", "not UTF-8, at byte 1"},
};

INSTANTIATE_TEST_SUITE_P(TokenizerDamage, RefusedTokenizer, testing::ValuesIn(kDamages),
                         [](const auto& damage) { return std::string(damage.param.name); });

TEST(TokenizerDamage, RefusesEveryTruncation) {
    json doc = document({{"▁", -1.25}, {"a", -1e-5}});
    doc["added_tokens"] = {added_token("</s>")};
    const std::string text = doc.dump();
    for (std::size_t length = 0; length < text.size(); ++length) {
        EXPECT_THROW(Tokenizer::parse(text.substr(0, length), "test.json"), InputError) << length;
    }
}

TEST(TokenizerDamage, RefusesJsonThatNoTokenizerHas) {
    const auto refused = [](const std::string& text, const std::string& complaint) {
        EXPECT_THAT([&] { Tokenizer::parse(text, "test.json"); },
                    ThrowsMessage<InputError>(AllOf(HasSubstr("test.json"), HasSubstr(complaint))));
    };
    refused(std::string(100'000, '['), "more than 64 deep");
    refused("{\"a\": 1e999}", "is not JSON at byte");
    refused("{\"a\": \"\xFF\"}", "is not JSON at byte");
    refused("[]", "an object");
}

TEST(TokenizerDamage, SurvivesEveryFlippedBitOfAMap) {
    json doc = document({{"▁", -1}, {"b", -1}});
    const std::string good = charsmap({{"a", "b"}, {"é", "b\u00e8"}, {"e\u0301", ""}});
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        const bool in_use = good[bit / 8] != 0 || bit % 101 == 0;  // most of the map is empty
        if (!in_use) continue;
        std::string bad = good;
        bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
        doc["normalizer"] = precompiled(bad);
        try {
            const Tokenizer tokenizer = parse(doc);
            for (const char* text : {"a", "é", "e\u0301", "ab\u0301c é☃"}) tokenizer.encode(text);
        } catch (const InputError&) {
            ++refused;
        }
    }
    EXPECT_GT(refused, 0U);
}

}  // namespace
}  // namespace musicsteer::test
