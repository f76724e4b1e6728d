#include "tokenizer/utf8.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "tokenizer/unicode16_words.hpp"

namespace musicsteer::tokenizer {

namespace {

/// Decodes at most 4 bytes, so that a length fits utf8proc's signed sizes for texts of any length.
utf8proc_ssize_t iterate(std::string_view text, std::size_t at, utf8proc_int32_t& value) {
    const auto length = static_cast<utf8proc_ssize_t>(std::min<std::size_t>(4, text.size() - at));
    return utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at, length, &value);
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        utf8proc_int32_t value = 0;
        const utf8proc_ssize_t bytes = iterate(text, at, value);
        if (bytes <= 0) return at;
        at += static_cast<std::size_t>(bytes);
    }
    return std::nullopt;
}

CodePoint decode_utf8(std::string_view text, std::size_t at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) return {byte, 1};
    utf8proc_int32_t value = 0;
    const utf8proc_ssize_t bytes = iterate(text, at, value);
    return {static_cast<char32_t>(value), static_cast<std::size_t>(bytes)};
}

void append_utf8(std::string& text, char32_t code_point) {
    std::array<utf8proc_uint8_t, 4> bytes{};
    const utf8proc_ssize_t length =
        utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes.data());
    text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
}

bool is_white_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

bool is_word_character(char32_t c) {
    if (c == 0x200C || c == 0x200D) return true;  // the two joiners
    // Letters in circles and squares are symbols by category, yet alphabetic.
    if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
        (c >= 0x1F170 && c <= 0x1F189)) {
        return true;
    }
    if (contains(unicode16::kNewWordCharacters, c)) return true;
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_PC:
            return true;
        default:
            return false;
    }
}

}  // namespace musicsteer::tokenizer
