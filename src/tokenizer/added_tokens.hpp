#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/piece_trie.hpp"

namespace musicsteer::tokenizer {

/// A token such as `</s>`: where it appears in a text, it is not cut into pieces.
struct AddedToken {
    std::string content;
    std::uint32_t id = 0;
    bool lstrip = false;  ///< includes the white space to its left
    bool rstrip = false;  ///< the same to its right
};

/// A part of a text: an added token, or what lies between two of them.
struct Part {
    std::string_view text;
    std::optional<std::uint32_t> id;  ///< of the token, if it is one
};

class AddedTokens {
  public:
    explicit AddedTokens(std::vector<AddedToken> tokens);

    /// Cuts a text (valid UTF-8) at added tokens; of several that start at the same place, at the longest. No
    /// part is empty.
    std::vector<Part> split(std::string_view text) const;

    const std::vector<AddedToken>& tokens() const { return tokens_; }

  private:
    std::vector<AddedToken> tokens_;
    PieceTrie spellings_;  ///< numbers are indices in tokens_
};

}  // namespace musicsteer::tokenizer
