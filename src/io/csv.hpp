#pragma once

#include <string>

namespace musicsteer {

/// Text as a cell of CSV (RFC 4180), in quotes where it has to be. What a spreadsheet would compute, as it
/// begins with =, +, -, @ or a tab, gets an apostrophe in front.
std::string csv_cell(const std::string& text);

}  // namespace musicsteer
