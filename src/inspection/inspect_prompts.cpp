#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "inspection/inspect.hpp"
#include "io/sha256.hpp"
#include "musicsteer/prompt_set.hpp"
#include "prompts/prompt_confounds.hpp"

namespace musicsteer::inspection {
namespace {

using nlohmann::json;

json confounds_json(const PromptConfounds& confounds) {
    json words = json::array();
    for (const OneSidedWord& word : confounds.one_sided_words)
        words.push_back({{"word", word.word}, {"positive", word.positive}, {"negative", word.negative}});
    return {
        {"concept_words", confounds.concept_words},
        {"one_sided_words", std::move(words)},
        {"mean_words", {{"positive", confounds.positive_length}, {"negative", confounds.negative_length}}},
        {"unequal_lengths", confounds.unequal_lengths},
        {"repeated_texts", confounds.repeated_texts}};
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

/// What else differs between the sides and so becomes part of the vector.
void print_confounds(std::ostream& out, const PromptSet& set, const PromptConfounds& confounds) {
    print_field(out, "concept's words", joined(confounds.concept_words));
    if (confounds.empty()) {
        print_field(out, "confounds",
                    "none found: no other word of one side only, equal lengths, no repeats");
        return;
    }
    std::string words;
    for (const OneSidedWord& word : confounds.one_sided_words) {
        words += (words.empty() ? "" : ", ") + word.word + " (" +
                 std::to_string(word.positive + word.negative) + " " +
                 (word.positive > 0 ? set.positive.label : set.negative.label) + ")";
    }
    print_field(out, "one side only", words);
    if (confounds.unequal_lengths) {
        print_field(out, "unequal lengths",
                    to_text(rounded_to_digits(confounds.positive_length, 3)) + " words in " +
                        set.positive.label + ", " + to_text(rounded_to_digits(confounds.negative_length, 3)) +
                        " in " + set.negative.label + ", on average");
    }
    print_field(out, "repeated", joined(confounds.repeated_texts));
    print_field(out, "",
                "what else differs between the sides becomes part of the vector (prompts/README.md)");
}

}  // namespace

Report inspect_prompt_list(const std::string& path) {
    Report report;
    const std::vector<Prompt> prompts = load_prompt_list(path);
    report.data = {{"kind", "prompt list"}, {"sha256", sha256_of_file(path)}, {"prompts", prompts.size()}};
    report.print = [prompts, path](std::ostream& out) {
        print_field(out, "prompt list", counted(prompts.size(), "prompt"));
        print_field(out, "sha256", sha256_of_file(path));
        print_field(out, "first", prompts.front().text);
    };
    return report;
}

Report inspect_prompt_set(const std::string& path) {
    Report report;
    const PromptSet set = PromptSet::load(path);
    const PromptConfounds confounds = find_confounds(set);
    const auto side_json = [](const PromptSide& side) {
        return json{{"label", side.label}, {"prompts", side.prompts.size()}};
    };
    report.data = {{"kind", "prompt set"},
                   {"sha256", set.sha256},
                   {"concept", set.concept_name},
                   {"description", set.description},
                   {"positive", side_json(set.positive)},
                   {"negative", side_json(set.negative)},
                   {"paired", set.paired},
                   {"confounds", confounds_json(confounds)}};
    report.print = [set, confounds](std::ostream& out) {
        print_field(out, "prompt set", set.concept_name + (set.paired ? " (paired)" : ""));
        print_field(out, "sha256", set.sha256);
        print_field(out, "description", set.description);
        for (const PromptSide* side : {&set.positive, &set.negative}) {
            print_field(out, side == &set.positive ? "positive" : "negative",
                        side->label + ", " + counted(side->prompts.size(), "prompt") + ", first: \"" +
                            side->prompts.front().text + "\"");
        }
        print_confounds(out, set, confounds);
    };
    return report;
}

}  // namespace musicsteer::inspection
