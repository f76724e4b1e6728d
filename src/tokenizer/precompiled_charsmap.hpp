#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json_view.hpp"

namespace musicsteer::tokenizer {

/// SentencePiece's character map, as `tokenizers` applies it (its crate spm_precompiled).
///
/// The file holds, in base64: the size of a trie in bytes (u32, little endian), the trie (a Darts double
/// array of u32 units, whose values are offsets), and the replacements (UTF-8, each ended by a NUL).
///
/// The map is applied to each grapheme cluster of less than 6 bytes: the replacement of its shortest prefix
/// in the map replaces the whole cluster, and the rest is lost ("ﬁ" + U+0301 becomes "fi"). Longer clusters,
/// and those without such a prefix, are mapped character by character. SentencePiece itself does it
/// differently; T5 checkpoints loaded through transformers get their ids from this.
class PrecompiledCharsmap {
  public:
    /// @throws InputError if it is not base64, or the trie or a replacement points outside the data.
    explicit PrecompiledCharsmap(const JsonView& base64);

    /// `text` must be valid UTF-8.
    std::string normalize(std::string_view text) const;

  private:
    /// The replacement of the shortest prefix of `key` that is in the map.
    std::optional<std::string_view> find(std::string_view key) const;

    void check_trie(const JsonView& place) const;

    std::vector<std::uint32_t> units_;
    std::string replacements_;
};

}  // namespace musicsteer::tokenizer
