#pragma once

#include <string>
#include <vector>

namespace musicsteer {

/// The names of --measure-command's measures in a line of runs.jsonl.
std::vector<std::string> own_measures(const std::string& record);
/// The first line of runs.csv (RFC 4180). @param own  names of own measures, as in all lines
std::string sweep_table_heading(const std::vector<std::string>& own);
/// A clip's line. @param record  a line of runs.jsonl
std::string sweep_table_row(const std::string& record, const std::vector<std::string>& own);

}  // namespace musicsteer
