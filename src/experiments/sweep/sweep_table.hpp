#pragma once

#include <string>
#include <vector>

namespace musicsteer {

/// runs.csv: a header and one row a record, RFC 4180. @param records  lines of runs.jsonl
std::string sweep_table(const std::vector<std::string>& records);

}  // namespace musicsteer
