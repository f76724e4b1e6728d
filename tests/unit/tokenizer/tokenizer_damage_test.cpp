// Texts and tokenizer.json files that the tokenizer refuses, each with a sentence that names the place.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "musicsteer/errors.hpp"
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
    doc["added_tokens"] = {added_token("</s>", 1)};
    GetParam().apply(doc);
    EXPECT_THAT([&] { parse(doc); },
                ThrowsMessage<InputError>(AllOf(HasSubstr("test.json: "), HasSubstr(GetParam().place),
                                                HasSubstr(GetParam().complaint))));
}

std::string with_size(std::uint32_t size) {
    return u32(size) + charsmap({{"a", "b"}}).substr(4);
}

std::string with_unit(std::size_t index, std::uint32_t unit) {
    return charsmap({{"a", "b"}}).replace(4 + 4 * index, 4, u32(unit));
}

const Damage kDamages[] = {
    {"NoModel", [](json& d) { d.erase("model"); }, "model: ", "missing"},
    {"NotAnObject", [](json& d) { d = 3; }, "", "expected an object, found a number"},
    {"OtherModel", [](json& d) { d["model"]["type"] = "BPE"; },
     "model.type: ", R"(expected "Unigram", found "BPE")"},
    {"NoVocab", [](json& d) { d["model"].erase("vocab"); }, "model.vocab: ", "missing"},
    {"EmptyVocab", [](json& d) { d["model"]["vocab"] = json::array(); }, "model.vocab: ", "an empty list"},
    {"VocabNoArray", [](json& d) { d["model"]["vocab"] = "x"; }, "model.vocab: ", "a list, found text"},
    {"PieceNoText", [](json& d) { d["model"]["vocab"][3][0] = 7; }, "vocab[3][0]: ", "text, found a number"},
    {"ScoreNoNumber", [](json& d) { d["model"]["vocab"][3][1] = "-1"; },
     "vocab[3][1]: ", "a number, found text"},
    {"ScoreMissing", [](json& d) { d["model"]["vocab"][3].erase(1); },
     "vocab[3]: ", "a piece and its score, found a list of 1"},
    {"UnkMissing", [](json& d) { d["model"].erase("unk_id"); }, "model.unk_id: ", "missing"},
    {"UnkNull", [](json& d) { d["model"]["unk_id"] = nullptr; }, "model.unk_id: ", "found null"},
    {"UnkTooLarge", [](json& d) { d["model"]["unk_id"] = 5; }, "model.unk_id: ", "from 0 to 4, found 5"},
    {"UnkNegative", [](json& d) { d["model"]["unk_id"] = -1; }, "model.unk_id: ", "found -1"},
    {"UnkFraction", [](json& d) { d["model"]["unk_id"] = 1.5; }, "model.unk_id: ", "found 1.5"},
    {"ByteFallback", [](json& d) { d["model"]["byte_fallback"] = true; },
     "byte_fallback: ", "expected false, found true"},
    {"NoEnd",
     [](json& d) {
         d["model"]["vocab"][1][0] = "<end>";
         d["added_tokens"] = json::array();
     },
     "vocab: ", "the piece </s>, found none"},
    {"OtherNormalizer",
     [](json& d) {
         d["normalizer"] = {{"type", "NFKC"}};
     },
     "normalizer.type: ", R"(expected "Precompiled", found "NFKC")"},
    {"NormalizerUntyped", [](json& d) { d["normalizer"] = json::object(); }, "normalizer.type: ", "missing"},
    {"NormalizerMissing", [](json& d) { d.erase("normalizer"); }, "normalizer: ", "missing"},
    {"OtherPreTokenizer",
     [](json& d) {
         d["pre_tokenizer"] = {{"type", "ByteLevel"}};
     },
     "pre_tokenizer.type: ", R"(expected "Sequence", found "ByteLevel")"},
    {"FewerPreTokenizers", [](json& d) { d["pre_tokenizer"]["pretokenizers"].erase(0); },
     "pre_tokenizer.pretokenizers: ", "expected a list of 2, found one of 1"},
    {"OtherReplacement", [](json& d) { metaspace(d)["replacement"] = "_"; },
     "[1].replacement: ", R"(expected "▁", found "_")"},
    {"OtherScheme", [](json& d) { metaspace(d)["prepend_scheme"] = "first"; },
     "[1].prepend_scheme: ", R"(expected "always", found "first")"},
    {"OlderScheme", [](json& d) { metaspace(d)["add_prefix_space"] = true; },
     "pretokenizers[1]: ", "unknown key 'add_prefix_space'"},
    {"NoCut", [](json& d) { metaspace(d)["split"] = false; }, "[1].split: ", "expected true, found false"},
    {"OtherPostProcessor",
     [](json& d) {
         d["post_processor"] = {{"type", "Roberta"}};
     },
     "post_processor.type: ", R"(found "Roberta")"},
    {"TemplateUnknownToken", [](json& d) { d["post_processor"]["special_tokens"] = json::object(); },
     "special_tokens['</s>']: ", "missing"},
    {"TemplateSecondText", [](json& d) { d["post_processor"]["single"][0]["Sequence"]["id"] = "B"; },
     "single[0].Sequence.id: ", R"(expected "A", found "B")"},
    {"TemplateNoText", [](json& d) { d["post_processor"]["single"].erase(0); },
     "single: ", "expected a list of 2, found one of 1"},
    {"TemplateOtherId", [](json& d) { d["post_processor"]["special_tokens"]["</s>"]["ids"] = {5}; },
     "ids[0]: ", "expected 1, found 5"},
    {"AddedIncomplete", [](json& d) { d["added_tokens"][0].erase("lstrip"); },
     "added_tokens[0].lstrip: ", "missing"},
    {"AddedNoArray", [](json& d) { d["added_tokens"] = json::object(); },
     "added_tokens: ", "a list, found an object"},
    {"AddedOtherId", [](json& d) { d["added_tokens"][0]["id"] = 2; },
     "added_tokens[0].id: ", "expected 1, found 2"},
    {"AddedWord", [](json& d) { d["added_tokens"][0]["single_word"] = true; },
     "added_tokens[0].single_word: ", "expected false, found true"},
    {"AddedNormalized", [](json& d) { d["added_tokens"][0]["normalized"] = true; },
     "added_tokens[0].normalized: ", "expected false, found true"},
    {"MapNoText",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", nullptr}};
     },
     ".precompiled_charsmap", "text, found null"},
    {"MapBadBase64",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AB*="}};
     },
     ".precompiled_charsmap", "not base64 at character 2"},
    {"MapBase64Length",
     [](json& d) {
         d["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "ABC"}};
     },
     ".precompiled_charsmap", "a multiple of 4, found 3"},
    {"MapEmpty", [](json& d) { d["normalizer"] = precompiled(""); }, ".precompiled_charsmap",
     "4 bytes, found 0"},
    {"MapTruncated",
     [](json& d) {
         d["normalizer"] = precompiled(charsmap({{"a", "b"}}).substr(0, 900));
     },
     ".precompiled_charsmap", "at most the 896 that follow"},
    {"MapSizeZero", [](json& d) { d["normalizer"] = precompiled(with_size(0)); }, ".precompiled_charsmap",
     "found 0"},
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
    doc["added_tokens"] = {added_token("</s>", 1)};
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
    refused(std::string(100'000, '['), "deeper than 64 levels");
    refused("{\"a\": 1e999}", "not JSON");
    refused("{\"a\": \"\xFF\"}", "not UTF-8 at byte offset 7");
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
