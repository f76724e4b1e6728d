#include "prompts/prompt_json.hpp"

#include <algorithm>
#include <map>

#include "base/statistics.hpp"
#include "io/json_view.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "prompts/blank_text.hpp"

namespace musicsteer {
namespace {

constexpr const char* kPlainList =
    "a plain list of prompts, expected a concept set with a positive and a negative side";

std::string read_text(const JsonView& view) {
    std::string text = view.text();
    if (is_blank(text)) view.fail("expected text, found only white space");
    return text;
}

void check_optional_text(const JsonView& object, const std::string& key) {
    if (const auto view = object.find(key)) read_text(*view);
}

Prompt read_prompt(const JsonView& view) {
    if (!view.is_object()) return {read_text(view), std::nullopt};
    view.refuse_unknown_keys({"text", "value", "note"});
    Prompt prompt{read_text(view.at("text")), std::nullopt};
    if (const auto value = view.find("value")) prompt.value = value->number();
    check_optional_text(view, "note");
    return prompt;
}

std::vector<Prompt> read_prompts(const JsonView& view) {
    std::vector<Prompt> prompts;
    std::map<std::string, std::string> seen;  // text -> its place
    for (const JsonView& item : view.items()) {
        prompts.push_back(read_prompt(item));
        const auto [earlier, is_new] = seen.emplace(prompts.back().text, item.place());
        if (!is_new) item.fail("the same text as " + earlier->second);
    }
    if (prompts.empty()) view.fail("expected at least one prompt, found an empty list");
    return prompts;
}

PromptSide read_side(const JsonView& view) {
    view.refuse_unknown_keys({"label", "prompts"});
    return {read_text(view.at("label")), read_prompts(view.at("prompts"))};
}

bool read_pairing(const JsonView& root) {
    const auto pairing = root.find("pairing");
    if (!pairing) return false;
    const std::string word = pairing->text();
    if (word != "index" && word != "none")
        pairing->fail("expected 'index' or 'none', found " + in_quotes(word));
    return word == "index";
}

void check_sides(const PromptSet& set, const JsonView& root) {
    if (set.positive.label == set.negative.label) {
        root.at("negative")
            .at("label")
            .fail("the same label as positive.label, " + in_quotes(set.negative.label));
    }
    const std::size_t count = set.positive.prompts.size();
    if (set.paired && set.negative.prompts.size() != count) {
        root.at("negative")
            .at("prompts")
            .fail("expected " + std::to_string(count) + " prompts, as many as the positive side " +
                  "(\"pairing\" is \"index\"), found " + std::to_string(set.negative.prompts.size()));
    }
}

// The larger half of the values is the positive side.
void split_by_value(PromptSet& set, const JsonView& list, const std::vector<Prompt>& prompts) {
    std::vector<double> values;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        if (!prompts[i].value)
            list.items()[i].fail("has no \"value\", and other prompts have one: expected all or none");
        values.push_back(*prompts[i].value);
    }
    std::vector<bool> larger;
    try {
        larger = larger_half(values);
    } catch (const UsageError&) {
        list.fail("expected prompts of at least two different values, found one value");
    }
    set.positive.label = "high";
    set.negative.label = "low";
    for (std::size_t i = 0; i < prompts.size(); ++i)
        (larger[i] ? set.positive : set.negative).prompts.push_back(prompts[i]);
}

PromptSet parse_numbered_set(const JsonView& root) {
    const JsonView list = root.at("prompts");
    const std::vector<Prompt> prompts = list.is_list() ? read_prompts(list) : std::vector<Prompt>();
    if (std::none_of(prompts.begin(), prompts.end(), [](const Prompt& p) { return p.value.has_value(); }))
        root.fail(kPlainList);
    root.refuse_unknown_keys({"$schema", "concept", "description", "prompts", "notes"});
    PromptSet set;
    set.concept_name = read_text(root.at("concept"));
    if (const auto description = root.find("description")) set.description = read_text(*description);
    check_optional_text(root, "notes");
    split_by_value(set, list, prompts);
    return set;
}

/// {"positive": [...], "negative": [...]}: the sides alone, without labels.
bool is_bare(const JsonView& root) {
    if (!root.is_object()) return false;
    const auto positive = root.find("positive"), negative = root.find("negative");
    return positive && negative && positive->is_list() && negative->is_list();
}

PromptSet parse_bare_sides(const JsonView& root) {
    root.refuse_unknown_keys({"concept", "positive", "negative"});
    PromptSet set;
    if (const auto name = root.find("concept")) set.concept_name = read_text(*name);
    set.positive = {"positive", read_prompts(root.at("positive"))};
    set.negative = {"negative", read_prompts(root.at("negative"))};
    set.names_sides = false;
    set.paired = set.positive.prompts.size() == set.negative.prompts.size();
    return set;
}

/// [{"positive": "...", "negative": "..."}, ...]
bool is_pair_list(const JsonView& root) {
    if (!root.is_list()) return false;
    const std::vector<JsonView> items = root.items();
    return !items.empty() && items.front().is_object() && items.front().find("positive");
}

PromptSet parse_pair_list(const JsonView& root) {
    PromptSet set;
    for (const JsonView& item : root.items()) {
        set.positive.prompts.push_back(read_prompt(item.at("positive")));
        set.negative.prompts.push_back(read_prompt(item.at("negative")));
    }
    set.positive.label = "positive";
    set.negative.label = "negative";
    set.names_sides = false;
    set.paired = true;
    return set;
}

}  // namespace

std::vector<Prompt> parse_prompt_list(const std::string& text, const std::string& origin) {
    const JsonDocument document(text, origin);
    const JsonView root = document.root();
    if (root.is_list()) return read_prompts(root);
    if (!root.is_object()) root.fail("expected a list of prompts or a neutral prompt set");
    if (root.find("positive") || root.find("negative")) {
        root.fail(
            "a concept set with two sides, expected plain prompts to generate from: {\"concept\", "
            "\"prompts\"}");
    }
    root.refuse_unknown_keys({"$schema", "concept", "description", "prompts", "notes"});
    read_text(root.at("concept"));
    for (const char* key : {"description", "notes"}) check_optional_text(root, key);
    return read_prompts(root.at("prompts"));
}

PromptSet PromptSet::parse(const std::string& json, const std::string& origin) {
    const JsonDocument document(json, origin);
    const JsonView root = document.root();
    if (is_pair_list(root) || is_bare(root)) {
        PromptSet set = root.is_list() ? parse_pair_list(root) : parse_bare_sides(root);
        set.sha256 = sha256_of(json);
        return set;
    }
    if (root.is_list()) {
        const std::vector<JsonView> items = root.items();
        if (!items.empty() && items.front().is_list())
            root.fail("expected pairs as [{\"positive\": \"...\", \"negative\": \"...\"}, ...], found lists");
        root.fail(kPlainList);
    }
    if (root.find("prompts")) {
        PromptSet set = parse_numbered_set(root);
        set.sha256 = sha256_of(json);
        return set;
    }
    root.refuse_unknown_keys(
        {"$schema", "concept", "description", "positive", "negative", "pairing", "notes"});
    if (const auto schema = root.find("$schema")) schema->text();
    PromptSet set;
    set.concept_name = read_text(root.at("concept"));
    if (const auto description = root.find("description")) set.description = read_text(*description);
    check_optional_text(root, "notes");
    set.positive = read_side(root.at("positive"));
    set.negative = read_side(root.at("negative"));
    set.paired = read_pairing(root);
    check_sides(set, root);
    set.sha256 = sha256_of(json);
    return set;
}

}  // namespace musicsteer
