#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace musicsteer::tokenizer {

struct CodePoint {
    char32_t value;
    std::size_t bytes;
};

/// Byte offset of the first byte that is not part of well-formed UTF-8, if there is one.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// The code point that starts at byte `at`. The text must be valid UTF-8 and `at` the start of a code point
/// in it.
CodePoint decode_utf8(std::string_view text, std::size_t at);

void append_utf8(std::string& text, char32_t code_point);

/// Unicode's White_Space property: what Rust's char::is_whitespace and `\s` in a regular expression match.
bool is_white_space(char32_t code_point);

/// What `\w` matches in a regular expression: alphabetic, mark, decimal number, connector or joiner.
bool is_word_character(char32_t code_point);

}  // namespace musicsteer::tokenizer
