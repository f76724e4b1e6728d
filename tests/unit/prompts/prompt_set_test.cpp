#include "musicsteer/prompt_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using namespace std::string_literals;

const std::string kTempo = R"({
  "$schema": "./schema.json", "concept": "tempo", "description": "How fast.", "notes": "By hand.", "pairing": "index",
  "positive": {"label": "fast", "prompts": ["fast piano", {"text": "a quick beat", "value": 160, "note": "techno"}]},
  "negative": {"label": "slow", "prompts": ["slow piano", {"text": "a calm beat", "value": 70.5}]}
})";

std::vector<std::string> texts_of(const std::vector<Prompt>& prompts) {
    std::vector<std::string> texts;
    for (const Prompt& prompt : prompts) texts.push_back(prompt.text);
    return texts;
}

TEST(PromptSet, NumberedPromptsAreTwoHalves) {
    const PromptSet set = PromptSet::parse(
        R"({"concept":"tempo","description":"d","prompts":[{"text":"a","value":90},{"text":"b","value":150},
            {"text":"c","value":60},{"text":"d","value":120}]})",
        "x.json");
    EXPECT_EQ(set.concept_name, "tempo");
    EXPECT_EQ(set.positive.label, "high");
    EXPECT_EQ(set.negative.label, "low");
    EXPECT_THAT(texts_of(set.positive.prompts), ElementsAre("b", "d"));
    EXPECT_THAT(texts_of(set.negative.prompts), ElementsAre("a", "c"));
    EXPECT_EQ(set.negative.prompts[1].value, 60.0);
    EXPECT_FALSE(set.paired);
    EXPECT_EQ(set.sha256.size(), 64U);
}

TEST(PromptSet, ReadsAConceptSet) {
    const PromptSet set = PromptSet::parse(kTempo, "tempo.json");
    EXPECT_EQ(set.concept_name, "tempo");
    EXPECT_EQ(set.description, "How fast.");
    EXPECT_TRUE(set.paired);
    EXPECT_EQ(set.positive.label, "fast");
    EXPECT_EQ(set.negative.label, "slow");
    EXPECT_THAT(texts_of(set.positive.prompts), ElementsAre("fast piano", "a quick beat"));
    EXPECT_THAT(texts_of(set.negative.prompts), ElementsAre("slow piano", "a calm beat"));
    EXPECT_EQ(set.positive.prompts[0].value, std::nullopt);
    EXPECT_EQ(set.positive.prompts[1].value, 160.0);
    EXPECT_EQ(set.negative.prompts[1].value, 70.5);
    EXPECT_EQ(set.sha256, sha256_of(kTempo));
}

TEST(PromptSet, OptionalKeysMayBeLeftOut) {
    const PromptSet set = PromptSet::parse(
        R"({"concept":"c","positive":{"label":"p","prompts":["a"]},"negative":{"label":"n","prompts":["b","d"]}})",
        "x");
    EXPECT_FALSE(set.paired);
    EXPECT_EQ(set.description, "");
}

TEST(PromptSet, IgnoresAByteOrderMark) {
    EXPECT_EQ(PromptSet::parse("\xEF\xBB\xBF" + kTempo, "x").concept_name, "tempo");
}

// A set whose two sides and further keys are as given.
std::string set_of(const std::string& positive, const std::string& negative, const std::string& more = "") {
    return R"({"concept":"c","positive":{"label":"p","prompts":)" + positive +
           R"(},"negative":{"label":"n","prompts":)" + negative + "}" + more + "}";
}

struct BadSet {
    std::string json;
    std::string message;
};

void PrintTo(const BadSet& test, std::ostream* out) {
    *out << test.json;
}

class BadPromptSet : public ::testing::TestWithParam<BadSet> {};

TEST_P(BadPromptSet, IsRefusedWithItsPlace) {
    EXPECT_THAT([] { PromptSet::parse(GetParam().json, "x.json"); },
                ThrowsMessage<InputError>(GetParam().message));
}

const std::vector<BadSet> kBadSets = {
    {"",
     "x.json: not JSON: line 1, column 1: syntax error while parsing value - unexpected end of input; "
     "expected '[', '{', or a literal"},
    {"piano", "x.json: not JSON: line 1, column 1: syntax error while parsing value - invalid literal"},
    {"{\n\"concept\": tempo}",
     "x.json: not JSON: line 2, column 13: syntax error while parsing value - invalid literal"},
    {"{\"concept\": \"\xC3(\"}", "x.json: not UTF-8 at byte offset 13; save the file as UTF-8 text"},
    {"\xFF\xFE{\0"s, "x.json: not UTF-8 at byte offset 0; save the file as UTF-8 text"},
    {"{\"concept\": \"\xED\xA0\x80\"}",
     "x.json: not UTF-8 at byte offset 13; save the file as UTF-8 text"},  // a surrogate
    {"{\"concept\": \"\xC0\xAF\"}",
     "x.json: not UTF-8 at byte offset 13; save the file as UTF-8 text"},  // overlong
    {"3", "x.json: expected an object, found a number"},
    {R"({"concept":"a","concept":"b"})", "x.json: the key 'concept' appears twice in one object"},
    {R"(["a"])",
     "x.json: a plain list of prompts, expected a concept set with a positive and a negative side"},
    {R"({"concept":"c","prompts":["a"]})",
     "x.json: a plain list of prompts, expected a concept set with a positive and a negative side"},
    {R"({"concept":"c","prompts":[{"text":"a","value":1},"b"]})",
     "x.json: prompts[1]: has no \"value\", and other prompts have one: expected all or none"},
    {R"({"concept":"c","prompts":[{"text":"a","value":1},{"text":"b","value":1}]})",
     "x.json: prompts: expected prompts of at least two different values, found one value"},
    {R"({"positive":{},"negative":{}})", "x.json: concept: missing"},
    {R"({"concept":" "})", "x.json: concept: expected text, found only white space"},
    {R"({"concept":"c","negative":{}})", "x.json: positive: missing"},
    {R"({"concept":"c","positive":["a"]})", "x.json: positive: expected an object, found a list"},
    {R"({"concept":"c","positive":{"prompts":["a"]}})", "x.json: positive.label: missing"},
    {R"({"concept":"c","positive":{"label":"p"}})", "x.json: positive.prompts: missing"},
    {R"({"concept":"c","positve":{}})", "x.json: unknown key 'positve', did you mean 'positive'?"},
    {set_of("[]", R"(["b"])"), "x.json: positive.prompts: expected at least one prompt, found an empty list"},
    {set_of(R"(["a"])", "[]"), "x.json: negative.prompts: expected at least one prompt, found an empty list"},
    {set_of(R"("a")", R"(["b"])"), "x.json: positive.prompts: expected a list, found text"},
    {set_of(R"(["a"])", R"(["b","d","e",4])"), "x.json: negative.prompts[3]: expected text, found a number"},
    {set_of(R"(["a",null])", R"(["b"])"), "x.json: positive.prompts[1]: expected text, found null"},
    {set_of(R"(["a",["b"]])", R"(["b"])"), "x.json: positive.prompts[1]: expected text, found a list"},
    {set_of(R"(["a",""])", R"(["b"])"), "x.json: positive.prompts[1]: expected text, found only white space"},
    {set_of(R"(["\u00a0\u3000\t"])", R"(["b"])"),
     "x.json: positive.prompts[0]: expected text, found only white space"},
    {set_of(R"(["a","b","a"])", R"(["b"])"),
     "x.json: positive.prompts[2]: the same text as positive.prompts[0]"},
    {set_of(R"(["a"])", R"(["b",{"text":"b","value":1}])"),
     "x.json: negative.prompts[1]: the same text as negative.prompts[0]"},
    {set_of(R"([{"value":1}])", R"(["b"])"), "x.json: positive.prompts[0].text: missing"},
    {set_of(R"([{"text":"a","value":"fast"}])", R"(["b"])"),
     "x.json: positive.prompts[0].value: expected a number, found text"},
    {set_of(R"([{"text":"a","value":true}])", R"(["b"])"),
     "x.json: positive.prompts[0].value: expected a number, found true"},
    {set_of(R"([{"text":"a","bpm":120}])", R"(["b"])"), "x.json: positive.prompts[0]: unknown key 'bpm'"},
    {set_of(R"([{"text":"a","vaule":120}])", R"(["b"])"),
     "x.json: positive.prompts[0]: unknown key 'vaule', did you mean 'value'?"},
    {set_of(R"([{"text":"a","note":""}])", R"(["b"])"),
     "x.json: positive.prompts[0].note: expected text, found only white space"},
    {set_of(R"(["a"])", R"(["b"])", R"(,"pairing":"pairs")"),
     "x.json: pairing: expected 'index' or 'none', found 'pairs'"},
    {set_of(R"(["a"])", R"(["b"])", R"(,"pairing":true)"), "x.json: pairing: expected text, found true"},
    {set_of(R"(["a","d"])", R"(["b"])", R"(,"pairing":"index")"),
     "x.json: negative.prompts: expected 2 prompts, as many as the positive side (\"pairing\" is \"index\"), "
     "found 1"},
    {set_of(R"(["a"])", R"(["b"])", R"(,"notes":7)"), "x.json: notes: expected text, found a number"},
    {R"({"concept":"c","positive":{"label":"p","prompts":["a"]},"negative":{"label":"p","prompts":["b"]}})",
     "x.json: negative.label: the same label as positive.label, 'p'"},
    {set_of(R"([1e999])", R"(["b"])"), "x.json: not JSON: number overflow parsing '1e999'"},
};

INSTANTIATE_TEST_SUITE_P(All, BadPromptSet, ::testing::ValuesIn(kBadSets));

TEST(PromptSet, ReadsEveryConceptSetThatShips) {
    int sets = 0;
    for (const auto& entry : std::filesystem::directory_iterator(MUSICSTEER_SOURCE_DIR "/prompts")) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".json" || name == "schema.json" || name == "neutral.json") continue;
        const PromptSet set = PromptSet::load(entry.path());
        EXPECT_GE(set.positive.prompts.size(), 50U) << name;
        EXPECT_EQ(set.concept_name + ".json", name);
        ++sets;
    }
    EXPECT_GE(sets, 5);
    EXPECT_GE(load_prompt_list(MUSICSTEER_SOURCE_DIR "/prompts/neutral.json").size(), 8U);
}

struct ForeignSet {
    std::string name;
    std::string text;
};

/// Two pairs, as other programs write them.
const std::vector<ForeignSet> kForeignSets = {
    {"pairs.csv",
     "positive,negative\n\"fast piano, loud\",slow piano\n\"a \"\"quick\"\" beat\",a calm beat\n"},
    {"pairs.csv",
     "\xEF\xBB\xBFID;Positive prompt;Negative prompt\r\n1;fast piano, loud;slow piano\r\n"
     "2;a \"quick\" beat;a calm beat\r\n\r\n"},
    {"pairs.tsv", "neg\tpos\nslow piano\tfast piano, loud\na calm beat\t\"a \"\"quick\"\" beat\"\n"},
    {"pairs.txt",
     "prompt_positive;prompt_negative\nfast piano, loud;slow piano\na \"quick\" beat;a calm beat"},
    {"pairs.jsonl", R"({"positive": "fast piano, loud", "negative": "slow piano"}
{"negative": "a calm beat", "positive": "a \"quick\" beat"})"},
    {"pairs.json", R"({"id": 1, "positive": "fast piano, loud", "negative": "slow piano"}
{"id": 2, "positive": "a \"quick\" beat", "negative": "a calm beat"}
)"},
    {"pairs.json", R"([{"positive": "fast piano, loud", "negative": "slow piano"},
                       {"positive": "a \"quick\" beat", "negative": "a calm beat"}])"},
    {"pairs.json", R"({"positive": ["fast piano, loud", "a \"quick\" beat"],
                       "negative": ["slow piano", "a calm beat"]})"},
};

TEST(PromptSet, ReadsContrastSetsOfOthers) {
    for (const ForeignSet& foreign : kForeignSets) {
        const TempFolder folder;
        const auto path = write_bytes(folder / foreign.name, foreign.text);
        const PromptSet set = PromptSet::load(path);
        EXPECT_THAT(texts_of(set.positive.prompts), ElementsAre("fast piano, loud", "a \"quick\" beat"))
            << foreign.text;
        EXPECT_THAT(texts_of(set.negative.prompts), ElementsAre("slow piano", "a calm beat")) << foreign.text;
        EXPECT_TRUE(set.paired);
        EXPECT_EQ(set.concept_name, "pairs");
        EXPECT_EQ(set.positive.label, "positive");
        EXPECT_EQ(set.negative.label, "negative");
        EXPECT_EQ(set.sha256, sha256_of(foreign.text));
    }
}

TEST(PromptSet, ReadsAFileForEachSide) {
    const TempFolder folder;
    const auto fast = write_bytes(folder / "fast.txt", "fast piano\na quick beat\n");
    const auto slow = write_bytes(folder / "slow.txt", "slow piano\na calm beat\n");
    const PromptSet set = PromptSet::of_files(fast, slow);
    EXPECT_EQ(set.concept_name, "fast");
    EXPECT_EQ(set.positive.label, "fast");
    EXPECT_EQ(set.negative.label, "slow");
    EXPECT_THAT(texts_of(set.negative.prompts), ElementsAre("slow piano", "a calm beat"));
    EXPECT_TRUE(set.paired);
    EXPECT_NE(set.sha256, PromptSet::of_files(slow, fast).sha256);
    write_bytes(slow, "slow piano\n");
    EXPECT_FALSE(PromptSet::of_files(fast, slow).paired);
}

TEST(PromptSet, ASideOfATableMayBeShorter) {
    const TempFolder folder;
    const auto path = write_bytes(folder / "a.csv", "positive,negative\na,b\nc,\n");
    const PromptSet set = PromptSet::load(path);
    EXPECT_THAT(texts_of(set.negative.prompts), ElementsAre("b"));
    EXPECT_FALSE(set.paired);
    const auto gap = write_bytes(folder / "gap.csv", "positive,negative\na,b\nc,\nd,e\n");
    EXPECT_THAT([&] { PromptSet::load(gap); },
                ThrowsMessage<InputError>(HasSubstr("gap.csv: line 3: nothing under 'negative'")));
}

TEST(PromptSet, SaysWhatASetIsWhereThereIsNone) {
    const TempFolder folder;
    const auto refusal = [&](const std::string& name, const std::string& text) -> std::string {
        try {
            PromptSet::load(write_bytes(folder / name, text));
        } catch (const InputError& error) {
            return error.what();
        }
        return "nothing was thrown";
    };
    EXPECT_THAT(refusal("x.txt", "fast piano\n"),
                HasSubstr("not a prompt set; a prompt set is JSON with two sides"));
    EXPECT_THAT(refusal("x.yaml", "positive:\n  - a\n"), HasSubstr("a prompt set is JSON with two sides"));
    EXPECT_THAT(refusal("x.csv", "ID;test_prompt\n1;a\n"),
                HasSubstr("expected a column 'positive', found 'ID', 'test_prompt'; a prompt set is"));
    EXPECT_THAT(refusal("x.csv", "positive,negative\na,b\nc\n"), HasSubstr("line 3: expected 2 cells"));
    EXPECT_THAT(refusal("x.csv", "positive,negative\na,\"b\n"), HasSubstr("line 2: a quote is never closed"));
    EXPECT_THAT(refusal("x.csv", "positive,negative\na,b\na,c\n"),
                HasSubstr("line 3: 'positive' has the same text as line 2"));
    EXPECT_THAT(refusal("x.csv", "positive,Positive,negative\na,b,c\n"),
                HasSubstr("line 1: two columns are named 'Positive'"));
    EXPECT_THAT(refusal("x.json", R"([["a", "b"], ["c", "d"]])"),
                HasSubstr(R"(expected pairs as [{"positive": "...", "negative": "..."}, ...], found lists)"));
    EXPECT_THAT(refusal("x.csv", "positive,negative\n"), HasSubstr("expected prompts under 'positive'"));
    EXPECT_THAT(refusal("x.jsonl", "{\"positive\":\"a\",\"negative\":\"b\"}\n{\"positive\":\"c\"}\n"),
                HasSubstr("line 2: has no 'negative'"));
    EXPECT_THAT(refusal("x.jsonl", "{\"positive\"\n"), HasSubstr("line 1: expected a JSON object"));
}

TEST(PromptSet, NamesAMissingFile) {
    EXPECT_THAT([] { PromptSet::load("/nowhere/x.json"); },
                ThrowsMessage<InputError>("/nowhere/x.json: cannot be read: No such file or directory"));
}

TEST(PromptList, ReadsANeutralSetAListAndPlainText) {
    const TempFolder folder;
    const auto set =
        write_bytes(folder / "set.json", R"({"concept":"neutral","prompts":["a",{"text":"b","value":2}]})");
    EXPECT_THAT(texts_of(load_prompt_list(set)), ElementsAre("a", "b"));
    const auto list = write_bytes(folder / "list.json", R"(["c", "d"])");
    EXPECT_THAT(texts_of(load_prompt_list(list)), ElementsAre("c", "d"));
    const auto unnamed = write_bytes(folder / "no-extension", " \n[\"e\"]");
    EXPECT_THAT(texts_of(load_prompt_list(unnamed)), ElementsAre("e"));
    const auto lines = write_bytes(folder / "lines.txt",
                                   "\xEF\xBB\xBF  one \r\n\n# comment\n\ttwo # is part of it\n \nthree");
    EXPECT_THAT(texts_of(load_prompt_list(lines)), ElementsAre("one", "two # is part of it", "three"));
}

TEST(PromptList, ReadsTheColumnOfATable) {
    const TempFolder folder;
    for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
             {"a.csv", "ID;test_prompt\n1;fast piano, loud\n2;organ\n"},
             {"a.txt", "ID;test_prompt\n1;fast piano, loud\n2;organ\n"},
             {"a.tsv", "caption\tlabel\nfast piano, loud\tx\norgan\tx\n"},
             {"a.csv", "text\n\"fast piano, loud\"\norgan\n"},
             {"a.jsonl", "{\"prompt\":\"fast piano, loud\"}\n{\"prompt\":\"organ\"}\n"}}) {
        const auto path = write_bytes(folder / name, text);
        EXPECT_THAT(texts_of(load_prompt_list(path)), ElementsAre("fast piano, loud", "organ")) << text;
        EXPECT_THAT(load_texts(path), ElementsAre("fast piano, loud", "organ")) << text;
    }
    const auto lines = write_bytes(folder / "lines.txt", "positive mood, happy piano\n\nshort text; piano\n");
    EXPECT_THAT(texts_of(load_prompt_list(lines)),
                ElementsAre("positive mood, happy piano", "short text; piano"));
    EXPECT_THAT(load_texts(lines), ElementsAre("positive mood, happy piano", "", "short text; piano"));
}

TEST(PromptList, RefusesWhatIsNone) {
    const TempFolder folder;
    const auto refused = [&](const std::string& name, const std::string& bytes, const std::string& message) {
        const auto path = write_bytes(folder / name, bytes);
        EXPECT_THAT([&] { load_prompt_list(path); },
                    ThrowsMessage<InputError>(path.string() + ": " + message));
    };
    refused(
        "concept.json", kTempo,
        "a concept set with two sides, expected plain prompts to generate from: {\"concept\", \"prompts\"}");
    refused("number.json", "3", "expected a list of prompts or a neutral prompt set");
    refused("text.json", "piano",
            "not JSON: line 1, column 1: syntax error while parsing value - invalid literal");
    refused("key.json", R"({"concept":"c","prompt":["a"]})", "unknown key 'prompt', did you mean 'prompts'?");
    refused("concept-missing.json", R"({"prompts":["a"]})", "concept: missing");
    refused("item.json", R"(["a", 3])", "[1]: expected text, found a number");
    refused("empty.json", "[]", "expected at least one prompt, found an empty list");
    refused("twice.txt", "a\nb\na\n", "line 3: the same text as line 1");
    refused("comments.txt", "# nothing\n\n", "expected one prompt a line, found none");
    refused("empty.txt", "", "expected one prompt a line, found none");
    refused(
        "set.csv", "positive,negative\na,b\n",
        "a table without a column 'prompt' (found 'positive', 'negative'); name it so, or give one prompt a "
        "line");
    for (const char* name : {"a.yaml", "a.yml", "a.txt"})
        refused(name, "prompts:\n  - piano\n",
                "YAML is not supported; give one prompt a line, JSON, or a table with a column 'prompt'");
    refused("latin1.txt", "caf\xE9\n", "not UTF-8 at byte offset 3; save the file as UTF-8 text");
}

}  // namespace
}  // namespace musicsteer
