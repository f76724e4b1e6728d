#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/config_view.hpp"
#include "tokenizer/normalizer.hpp"
#include "tokenizer/piece_trie.hpp"
#include "tokenizer/tracked_text.hpp"
#include "tokenizer/unigram.hpp"

namespace musicsteer::tokenizer {

/// A token beside the model's vocabulary, such as `</s>`: where a text spells it out, it is not cut into
/// pieces.
struct AddedToken {
    std::string content;
    std::uint32_t id = 0;
    bool single_word = false;  ///< only where no letter, digit or the like is next to it
    bool lstrip = false;       ///< takes the white space to its left with it
    bool rstrip = false;       ///< the same to its right
    bool normalized = false;   ///< looked for in the normalised text, in its own normalised spelling
};

/// A part of a text: an added token, or what lies between two of them.
struct Part {
    TrackedText text;
    std::optional<std::uint32_t> id;  ///< of the token, if it is one
};

class AddedTokens {
  public:
    AddedTokens() = default;

    /// Reads the `added_tokens` of a tokenizer.json. As in `tokenizers`, the `id` in the file has no say: a
    /// token has the id of the piece it spells, or else the next one that is free.
    /// @throws InputError
    AddedTokens(const ConfigView& view, const Unigram& model, const Normalizer& normalizer);

    /// Normalises a text, and cuts it at added tokens. No part is empty.
    std::vector<Part> split(std::string_view text, const Normalizer& normalizer) const;

    std::optional<std::uint32_t> id_of(std::string_view content) const;

    /// The spelling of an id, or nullptr if it is no added token's.
    const std::string* content_of(std::uint32_t id) const;

    /// The largest id, if there are any.
    std::optional<std::uint32_t> last_id() const;

  private:
    void add(AddedToken token, const Unigram& model);

    /// Cuts at the tokens that `spellings` knows (by their place in tokens_).
    void split_at(const PieceTrie& spellings, const TrackedText& text, std::vector<Part>& parts) const;
    bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) const;

    std::vector<AddedToken> tokens_;
    PieceTrie raw_spellings_;
    PieceTrie normalized_spellings_;
};

}  // namespace musicsteer::tokenizer
