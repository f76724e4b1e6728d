#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// File formats of prompts.
enum class PromptFormat { kJson, kJsonLines, kTable, kYaml, kLines };

/// Told from the file's name and its beginning, since people name tables .txt, and JSON Lines .json.
PromptFormat prompt_format(const std::filesystem::path& path, std::string_view text);

/// Rows of text with named columns, from a spreadsheet or JSON Lines.
struct PromptTable {
    struct Row {
        std::size_t line = 0;            ///< in the file, from 1
        std::vector<std::string> cells;  ///< one a column, without white space around it
    };
    std::vector<std::string> columns;
    std::vector<Row> rows;

    /// CSV, TSV, or CSV with semicolons, as the heading shows; quoted cells as in RFC 4180.
    /// @throws InputError naming the line: a row with another number of cells, a quote that is never closed
    static PromptTable parse(std::string_view text, const std::string& origin);
    /// One JSON object a line, whose keys are the columns. @throws InputError naming the line
    static PromptTable parse_json_lines(std::string_view text, const std::string& origin);

    /// The column with this name in any of its usual spellings: "positive" finds "Positive prompt" and "pos",
    /// "prompt" finds "test_prompt", "text" and "caption". @return columns.size() if there is none, or if it
    /// is ambiguous
    std::size_t find(const std::string& name) const;
    /// "'ID', 'test_prompt'", for messages.
    std::string column_names() const;
};

}  // namespace musicsteer
