#include "prompts/blank_text.hpp"

#include <utf8proc.h>

#include <cstddef>

namespace musicsteer {
namespace {

bool is_space(utf8proc_int32_t codepoint) {
    constexpr utf8proc_int32_t kNextLine = 0x85;
    constexpr utf8proc_int32_t kByteOrderMark = 0xFEFF;  // space in JSON Schema's regular expressions
    if ((codepoint >= '\t' && codepoint <= '\r') || codepoint == kNextLine || codepoint == kByteOrderMark)
        return true;
    const utf8proc_category_t category = utf8proc_category(codepoint);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

}  // namespace

bool is_blank(std::string_view text) {
    const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    for (std::size_t offset = 0; offset < text.size();) {
        utf8proc_int32_t codepoint = 0;
        const auto rest = static_cast<utf8proc_ssize_t>(text.size() - offset);
        const utf8proc_ssize_t length = utf8proc_iterate(data + offset, rest, &codepoint);
        if (length <= 0 || !is_space(codepoint)) return false;
        offset += static_cast<std::size_t>(length);
    }
    return true;
}

}  // namespace musicsteer
