#include "prompts/prompt_table.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::string_view kBlank = " \t\r\v\f";

std::string_view without_blanks(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return "";
    return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::string_view first_line(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = without_blanks(text.substr(0, end));
        if (!line.empty() && !line.starts_with('#')) return line;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return "";
}

/// "Positive prompt" -> {"positive", "prompt"}
std::vector<std::string> name_words(const std::string& name) {
    std::vector<std::string> words(1);
    for (const char letter : name) {
        const auto byte = static_cast<unsigned char>(letter);
        if (std::isalnum(byte) || byte >= 0x80) {
            words.back() += static_cast<char>(std::tolower(byte));
        } else if (!words.back().empty()) {
            words.emplace_back();
        }
    }
    if (words.back().empty()) words.pop_back();
    return words;
}

/// Words that name a column.
const std::vector<std::string>& spellings(const std::string& name) {
    static const std::map<std::string, std::vector<std::string>> kSpellings = {
        {"positive", {"positive", "positives", "pos"}},
        {"negative", {"negative", "negatives", "neg"}},
        {"prompt", {"prompt", "prompts", "text", "texts", "caption", "captions"}},
    };
    return kSpellings.at(name);
}

bool is_called(const std::string& column, const std::string& name) {
    const std::vector<std::string> words = name_words(column);
    return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        const auto& known = spellings(name);
        return std::find(known.begin(), known.end(), word) != known.end() ||
               (word.size() > name.size() && (word.starts_with(name) || word.ends_with(name)));
    });
}

/// Reads the cells of one row of a table, which may span several lines if a quoted cell contains a newline.
class TableReader {
  public:
    TableReader(std::string_view text, char delimiter, std::string origin)
        : rest_(text), delimiter_(delimiter), origin_(std::move(origin)) {}

    bool at_end() const { return rest_.empty(); }

    PromptTable::Row row() {
        PromptTable::Row row;
        row.line = line_;
        do row.cells.push_back(cell());
        while (take(delimiter_));
        take('\n');
        return row;
    }

  private:
    bool take(char wanted) {
        if (rest_.empty() || rest_.front() != wanted) return false;
        if (wanted == '\n') ++line_;
        rest_.remove_prefix(1);
        return true;
    }

    std::string cell() {
        const std::size_t start = rest_.find_first_not_of(" \r");
        if (start != std::string_view::npos && rest_[start] == '"') {
            rest_.remove_prefix(start + 1);
            return quoted_cell();
        }
        const std::string ends{delimiter_, '\n'};
        const std::size_t end = std::min(rest_.find_first_of(ends), rest_.size());
        std::string text(without_blanks(rest_.substr(0, end)));
        rest_.remove_prefix(end);
        return text;
    }

    std::string quoted_cell() {
        const std::size_t opened = line_;
        std::string text;
        for (;;) {
            if (rest_.empty()) fail(opened, "a quote is never closed");
            const char letter = rest_.front();
            if (letter == '\n') ++line_;
            rest_.remove_prefix(1);
            if (letter != '"') {
                text += letter;
            } else if (!take('"')) {
                break;
            } else {
                text += '"';
            }
        }
        rest_.remove_prefix(std::min(rest_.find_first_not_of(" \r"), rest_.size()));
        if (!rest_.empty() && rest_.front() != delimiter_ && rest_.front() != '\n')
            fail(line_, "text after the end of a quoted cell");
        return std::string(without_blanks(text));
    }

    [[noreturn]] void fail(std::size_t line, const std::string& what) const {
        throw InputError(origin_ + ": line " + std::to_string(line) + ": " + what);
    }

    std::string_view rest_;
    char delimiter_;
    std::string origin_;
    std::size_t line_ = 1;
};

/// The delimiter that is most frequent in the heading. A prompt may contain commas, so they come last.
char delimiter_of(std::string_view heading) {
    char best = ',';
    std::ptrdiff_t most = 0;
    for (const char candidate : {'\t', ';', ','}) {
        const auto count = std::count(heading.begin(), heading.end(), candidate);
        if (count > most) {
            most = count;
            best = candidate;
        }
    }
    return best;
}

/// Whether two cells are column names and none is a prompt.
bool is_heading(std::string_view line) {
    if (delimiter_of(line) == ',' && line.find(',') == std::string_view::npos) return false;
    try {
        const auto names = TableReader(line, delimiter_of(line), "").row().cells;
        return std::count_if(names.begin(), names.end(), [](const std::string& name) {
                   const std::vector<std::string> words = name_words(name);
                   if (words.empty() || words.size() > 2) return false;
                   if (words.size() == 1 && (words[0] == "id" || words[0] == "index" || words[0] == "label"))
                       return true;
                   return is_called(name, "positive") || is_called(name, "negative") ||
                          is_called(name, "prompt");
               }) >= 2;
    } catch (const InputError&) {
        return false;
    }
}

bool is_yaml(std::string_view line) {
    return line == "---" || line.starts_with("- ") ||
           (line.ends_with(':') && line.find(' ') == std::string_view::npos);
}

/// @throws InputError for two columns of one name, of which only one would be read
void refuse_repeated_columns(const std::vector<std::string>& columns, const std::string& origin) {
    std::set<std::vector<std::string>> seen;
    for (const std::string& column : columns) {
        const std::vector<std::string> words = name_words(column);
        if (!words.empty() && !seen.insert(words).second)
            throw InputError(origin + ": line 1: two columns are named " + in_quotes(column) +
                             "; rename or remove one");
    }
}

}  // namespace

PromptFormat prompt_format(const std::filesystem::path& path, std::string_view text) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    const std::string_view line = first_line(text);
    const auto is_json_lines = [&] {
        const std::string_view rest = text.substr(text.find(line) + line.size());
        return line.starts_with('{') && rest.find_first_not_of(" \t\r\n") != std::string_view::npos &&
               nlohmann::json::accept(line);
    };
    if (extension == ".jsonl" || extension == ".ndjson" || is_json_lines()) return PromptFormat::kJsonLines;
    if (extension == ".json" || line.starts_with('{') || line.starts_with('[')) return PromptFormat::kJson;
    if (extension == ".csv" || extension == ".tsv") return PromptFormat::kTable;
    if (extension == ".yaml" || extension == ".yml" || is_yaml(line)) return PromptFormat::kYaml;
    return is_heading(line) ? PromptFormat::kTable : PromptFormat::kLines;
}

PromptTable PromptTable::parse(std::string_view text, const std::string& origin) {
    const std::string_view heading = text.substr(0, text.find('\n'));
    TableReader reader(text, delimiter_of(heading), origin);
    PromptTable table;
    table.columns = reader.row().cells;
    refuse_repeated_columns(table.columns, origin);
    while (!reader.at_end()) {
        Row row = reader.row();
        if (std::all_of(row.cells.begin(), row.cells.end(), [](const auto& cell) { return cell.empty(); }))
            continue;
        if (row.cells.size() != table.columns.size()) {
            throw InputError(origin + ": line " + std::to_string(row.line) + ": expected " +
                             std::to_string(table.columns.size()) + " cells, as the heading has, found " +
                             std::to_string(row.cells.size()) +
                             "; put a cell that contains the delimiter in double quotes");
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

PromptTable PromptTable::parse_json_lines(std::string_view text, const std::string& origin) {
    PromptTable table;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = without_blanks(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty()) continue;
        const std::string where = origin + ": line " + std::to_string(number);
        const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
        if (!object.is_object()) throw InputError(where + ": expected a JSON object");
        if (table.columns.empty())
            for (const auto& [key, value] : object.items()) table.columns.push_back(key);
        Row row{number, {}};
        for (const std::string& column : table.columns) {
            const auto found = object.find(column);
            if (found == object.end()) throw InputError(where + ": has no " + in_quotes(column));
            row.cells.push_back(found->is_string() ? std::string(without_blanks(found->get<std::string>()))
                                                   : found->dump());
        }
        table.rows.push_back(std::move(row));
    }
    return table;
}

std::size_t PromptTable::find(const std::string& name) const {
    const auto exact = std::find_if(columns.begin(), columns.end(), [&](const std::string& column) {
        return name_words(column) == std::vector{name};
    });
    if (exact != columns.end()) return static_cast<std::size_t>(exact - columns.begin());
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (is_called(columns[i], name)) found.push_back(i);
    return found.size() == 1 ? found.front() : columns.size();
}

std::string PromptTable::column_names() const {
    std::string names;
    for (const std::string& column : columns) names += (names.empty() ? "" : ", ") + in_quotes(column);
    return names;
}

}  // namespace musicsteer
