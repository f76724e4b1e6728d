#pragma once

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace musicsteer::tokenizer {

struct CodePoint {
    char32_t value;
    std::size_t bytes;  ///< length in UTF-8
};

/// The character that starts at byte `at`, which must be less than the text's size; the text must be valid.
inline CodePoint decode_utf8(std::string_view text, std::size_t at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) return {byte, 1};
    // At most 4 bytes, so that the length fits utf8proc's signed sizes for texts of any length.
    const auto length = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(4, text.size() - at));
    utf8proc_int32_t value = 0;
    const utf8proc_ssize_t bytes =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at, length, &value);
    return {static_cast<char32_t>(value), static_cast<std::size_t>(bytes)};
}

/// Unicode's White_Space.
inline bool is_white_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

}  // namespace musicsteer::tokenizer
