#include "musicsteer/prompt_set.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "base/statistics.hpp"
#include "directions/prompt_table.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr const char* kWhatASetIs =
    "a prompt set is JSON with two sides (prompts/README.md), CSV, TSV or JSON Lines with 'positive' and "
    "'negative', or two text files (--positive FILE --negative FILE)";
constexpr const char* kPlainList =
    "a plain list of prompts, expected a concept set with a positive and a negative side";

bool is_space(utf8proc_int32_t codepoint) {
    constexpr utf8proc_int32_t kNextLine = 0x85;
    constexpr utf8proc_int32_t kByteOrderMark = 0xFEFF;  // space in JSON Schema's regular expressions
    if ((codepoint >= '\t' && codepoint <= '\r') || codepoint == kNextLine || codepoint == kByteOrderMark)
        return true;
    const utf8proc_category_t category = utf8proc_category(codepoint);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

// `text` has been checked to be UTF-8.
bool is_blank(std::string_view text) {
    const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    for (std::size_t offset = 0; offset < text.size();) {
        utf8proc_int32_t codepoint = 0;
        const auto rest = static_cast<utf8proc_ssize_t>(text.size() - offset);
        const utf8proc_ssize_t length = utf8proc_iterate(data + offset, rest, &codepoint);
        if (length <= 0 || !is_space(codepoint)) return false;
        offset += static_cast<std::size_t>(length);
    }
    return true;
}

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

std::string_view trimmed(std::string_view line) {
    constexpr std::string_view kSpace = " \t\r\v\f";
    const std::size_t begin = line.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return "";
    return line.substr(begin, line.find_last_not_of(kSpace) - begin + 1);
}

/// The cells of a column, without blank ones.
std::vector<Prompt> prompts_of(const PromptTable& table, std::size_t column, const std::string& origin) {
    std::vector<Prompt> prompts;
    std::map<std::string, std::size_t> seen;  // text -> its line
    for (const PromptTable::Row& row : table.rows) {
        const std::string& text = row.cells[column];
        if (is_blank(text)) continue;
        const auto [earlier, is_new] = seen.emplace(text, row.line);
        if (!is_new) {
            throw InputError(origin + ": line " + std::to_string(row.line) + ": " +
                             in_quotes(table.columns[column]) + " has the same text as line " +
                             std::to_string(earlier->second));
        }
        prompts.push_back({text, std::nullopt});
    }
    if (prompts.empty()) {
        throw InputError(origin + ": expected prompts under " + in_quotes(table.columns[column]) +
                         ", found none");
    }
    return prompts;
}

std::vector<Prompt> prompt_column(const PromptTable& table, const std::string& origin) {
    const std::size_t column = table.find("prompt");
    if (column == table.columns.size()) {
        throw InputError(origin + ": a table without a column 'prompt' (found " + table.column_names() +
                         "); name it so, or give one prompt a line");
    }
    return prompts_of(table, column, origin);
}

std::vector<Prompt> parse_prompt_lines(std::string_view text, const std::string& origin) {
    std::vector<Prompt> prompts;
    std::map<std::string, int> seen;  // text -> its line
    for (int number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (is_blank(line) || line.starts_with('#')) continue;
        const auto [earlier, is_new] = seen.emplace(line, number);
        if (!is_new) {
            throw InputError(origin + ": line " + std::to_string(number) + ": the same text as line " +
                             std::to_string(earlier->second));
        }
        prompts.push_back({std::string(line), std::nullopt});
    }
    if (prompts.empty()) throw InputError(origin + ": expected one prompt a line, found none");
    return prompts;
}

/// Blank cells may only end a column. @throws InputError for a row that lost one of its sides
void refuse_gaps(const PromptTable& table, std::size_t column, const std::string& origin) {
    const PromptTable::Row* blank = nullptr;
    for (const PromptTable::Row& row : table.rows) {
        if (is_blank(row.cells[column])) {
            if (blank == nullptr) blank = &row;
        } else if (blank != nullptr) {
            throw InputError(origin + ": line " + std::to_string(blank->line) + ": nothing under " +
                             in_quotes(table.columns[column]) +
                             ", and later rows have a prompt there: fill it in, or remove the row");
        }
    }
}

/// The sides of a table, whose rows are pairs unless one side is shorter and leaves cells blank at its end.
PromptSet parse_pairs(const PromptTable& table, const std::string& origin) {
    PromptSet set;
    set.positive.label = "positive";
    set.negative.label = "negative";
    set.names_sides = false;
    set.paired = true;
    for (PromptSide* side : {&set.positive, &set.negative}) {
        const std::size_t column = table.find(side->label);
        if (column == table.columns.size()) {
            throw InputError(origin + ": expected a column " + in_quotes(side->label) + ", found " +
                             table.column_names() + "; " + kWhatASetIs);
        }
        refuse_gaps(table, column, origin);
        side->prompts = prompts_of(table, column, origin);
        set.paired = set.paired && side->prompts.size() == table.rows.size();
    }
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

std::vector<Prompt> parse_prompt_file(const std::string& bytes, const std::filesystem::path& path) {
    const std::string origin = path.string();
    check_utf8(bytes, origin);
    const std::string_view text = without_byte_order_mark(bytes);
    switch (prompt_format(path, text)) {
        case PromptFormat::kJson:
            return parse_prompt_list(bytes, origin);
        case PromptFormat::kJsonLines:
            return prompt_column(PromptTable::parse_json_lines(text, origin), origin);
        case PromptFormat::kTable:
            return prompt_column(PromptTable::parse(text, origin), origin);
        case PromptFormat::kYaml:
            throw InputError(origin +
                             ": YAML is not supported; give one prompt a line, JSON, or a table with a "
                             "column 'prompt'");
        case PromptFormat::kLines:
            break;
    }
    return parse_prompt_lines(text, origin);
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

PromptSet PromptSet::load(const std::filesystem::path& path) {
    const std::string origin = path.string();
    const std::string bytes = read_text_file(path);
    check_utf8(bytes, origin);
    const std::string_view text = without_byte_order_mark(bytes);
    PromptSet set;
    switch (prompt_format(path, text)) {
        case PromptFormat::kJson:
            set = parse(bytes, origin);
            break;
        case PromptFormat::kJsonLines:
            set = parse_pairs(PromptTable::parse_json_lines(text, origin), origin);
            break;
        case PromptFormat::kTable:
            set = parse_pairs(PromptTable::parse(text, origin), origin);
            break;
        case PromptFormat::kYaml:
        case PromptFormat::kLines:
            throw InputError(origin + ": not a prompt set; " + kWhatASetIs);
    }
    set.names_concept = !set.concept_name.empty();
    if (!set.names_concept) set.concept_name = path.stem().string();
    set.sha256 = sha256_of(bytes);
    return set;
}

PromptSet PromptSet::of_files(const std::filesystem::path& positive, const std::filesystem::path& negative) {
    PromptSet set;
    std::string hashes;
    for (const auto& [side, path] :
         {std::pair{&set.positive, &positive}, std::pair{&set.negative, &negative}}) {
        const std::string bytes = read_text_file(*path);
        *side = {path->stem().string(), parse_prompt_file(bytes, *path)};
        hashes += sha256_of(bytes) + "\n";
    }
    set.concept_name = set.positive.label;
    set.names_concept = set.names_sides = false;
    if (set.positive.label == set.negative.label) {
        set.positive.label = "positive";
        set.negative.label = "negative";
    }
    set.paired = set.positive.prompts.size() == set.negative.prompts.size();
    set.sha256 = sha256_of(hashes);
    return set;
}

std::vector<Prompt> load_prompt_list(const std::filesystem::path& path) {
    return parse_prompt_file(read_text_file(path), path);
}

std::vector<std::string> load_texts(const std::filesystem::path& path) {
    const std::string bytes = read_text_file(path);
    std::string_view text = without_byte_order_mark(bytes);
    std::vector<std::string> texts;
    if (prompt_format(path, text) != PromptFormat::kLines) {
        for (const Prompt& prompt : parse_prompt_file(bytes, path)) texts.push_back(prompt.text);
        return texts;
    }
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        texts.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return texts;
}

}  // namespace musicsteer
