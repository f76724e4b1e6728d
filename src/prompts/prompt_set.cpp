#include "musicsteer/prompt_set.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include "io/input_file.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "prompts/blank_text.hpp"
#include "prompts/prompt_json.hpp"
#include "prompts/prompt_table.hpp"

namespace musicsteer {
namespace {

constexpr const char* kWhatASetIs =
    "a prompt set is JSON with two sides (prompts/README.md), CSV, TSV or JSON Lines with 'positive' and "
    "'negative', or two text files (--positive FILE --negative FILE)";

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

}  // namespace

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
