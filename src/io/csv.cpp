#include "io/csv.hpp"

#include <string_view>

namespace musicsteer {

std::string csv_cell(const std::string& text) {
    constexpr std::string_view kComputed = "=+-@\t\r";
    const bool is_computed = !text.empty() && kComputed.find(text.front()) != std::string_view::npos;
    const std::string plain = (is_computed ? "'" : "") + text;
    if (plain.find_first_of(",\"\r\n") == std::string::npos) return plain;
    std::string quoted = "\"";
    for (const char letter : plain) quoted += letter == '"' ? std::string("\"\"") : std::string(1, letter);
    return quoted + "\"";
}

}  // namespace musicsteer
