#include "tokenizer/added_tokens.hpp"

#include <utility>

#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

std::size_t skip_space_left(std::string_view text, std::size_t at) {
    while (at > 0) {
        std::size_t begin = at - 1;
        while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
        if (!is_white_space(decode_utf8(text, begin).value)) break;
        at = begin;
    }
    return at;
}

std::size_t skip_space_right(std::string_view text, std::size_t at) {
    while (at < text.size()) {
        const CodePoint c = decode_utf8(text, at);
        if (!is_white_space(c.value)) break;
        at += c.bytes;
    }
    return at;
}

PieceTrie index_tokens(const std::vector<AddedToken>& tokens) {
    std::vector<std::pair<std::string, std::uint32_t>> numbered;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        numbered.emplace_back(tokens[i].content, static_cast<std::uint32_t>(i));
    }
    return PieceTrie(numbered);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), spellings_(index_tokens(tokens_)) {}

std::vector<Part> AddedTokens::split(std::string_view text) const {
    std::vector<Part> parts;
    std::size_t done = 0;  // all before this byte is in `parts`
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = 0;
        std::uint32_t longest = 0;
        spellings_.find_prefixes(text, at, [&](std::size_t found_length, std::uint32_t token) {
            length = found_length;
            longest = token;
        });
        if (length == 0) {
            ++at;
            continue;
        }
        const AddedToken& token = tokens_[longest];
        const std::size_t begin = token.lstrip ? skip_space_left(text, at) : at;
        at += length;
        if (done < begin) parts.push_back({text.substr(done, begin - done), std::nullopt});
        const std::size_t end = token.rstrip ? skip_space_right(text, at) : at;
        parts.push_back({text.substr(begin, end - begin), token.id});
        done = end;
    }
    if (done < text.size()) parts.push_back({text.substr(done), std::nullopt});
    return parts;
}

}  // namespace musicsteer::tokenizer
