#pragma once

#include <string>

namespace musicsteer {

/// Text as a CSV cell (RFC 4180), quoted if needed. Text that a spreadsheet would evaluate, because it begins
/// with =, +, -, @ or a tab, gets an apostrophe in front.
std::string csv_cell(const std::string& text);

}  // namespace musicsteer
