#include "base/printable.hpp"

#include <cstdio>

namespace musicsteer {

std::string printable(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
        const bool is_c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080 to U+009F in UTF-8
        if (byte < 0x20 || byte == 0x7F || is_c1) {
            char escaped[5];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", is_c1 ? next : byte);
            result += escaped;
            i += is_c1 ? 1 : 0;
        } else {
            result += text[i];
        }
    }
    return result;
}

}  // namespace musicsteer
