#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// How prompts are written in a file.
enum class PromptFormat { kJson, kJsonLines, kTable, kYaml, kLines };

/// By the file's name and how it begins: people name tables .txt, and JSON Lines .json.
PromptFormat prompt_format(const std::filesystem::path& path, std::string_view text);

/// Rows of text under named columns, as a spreadsheet or JSON Lines have them.
struct PromptTable {
    struct Row {
        std::size_t line = 0;            ///< in the file, from 1
        std::vector<std::string> cells;  ///< one a column, without white space around it
    };
    std::vector<std::string> columns;
    std::vector<Row> rows;

    /// CSV, TSV, or CSV with semicolons, as the heading shows; quoted cells as in RFC 4180.
    /// @throws InputError naming the line: a row with another number of cells, a quote that never ends
    static PromptTable parse(std::string_view text, const std::string& origin);
    /// One JSON object a line, whose keys are the columns. @throws InputError naming the line
    static PromptTable parse_json_lines(std::string_view text, const std::string& origin);

    /// The column that is called so, as people spell it: "positive" finds "Positive prompt" and "pos",
    /// "prompt" finds "test_prompt", "text" and "caption". @return columns.size() if there is none, or no one
    /// of several
    std::size_t find(const std::string& name) const;
    /// "'ID', 'test_prompt'", for messages.
    std::string column_names() const;
};

}  // namespace musicsteer
