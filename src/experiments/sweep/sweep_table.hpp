#pragma once

#include <string>

namespace musicsteer {

/// The first line of runs.csv (RFC 4180).
std::string sweep_table_heading();
/// A clip's line. @param record  a line of runs.jsonl
std::string sweep_table_row(const std::string& record);

}  // namespace musicsteer
