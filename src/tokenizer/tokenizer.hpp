#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// Text -> T5 token ids, from a checkpoint's `tokenizer.json`; the same ids as Hugging Face `tokenizers`
/// 0.23.
///
/// What such a file holds is fixed by how T5 was made: an optional normaliser (SentencePiece's precompiled
/// character map, stripping, replacing, lowercasing), splitting at white space and Metaspace, a Unigram
/// model, and a template that appends `</s>`. Anything else is refused by name. `truncation` and `padding` in
/// the file are ignored, as transformers does.
///
/// Copies share one immutable model, so copying and moving are cheap, and every member is safe to call from
/// several threads at once.
class Tokenizer {
  public:
    /// @throws InputError if the file cannot be read, is damaged, or asks for something that is not
    /// supported.
    static Tokenizer load(const std::filesystem::path& tokenizer_json);

    /// The same from the file's text; `origin` names it in messages.
    static Tokenizer parse(const std::string& json, const std::string& origin);

    /// Ids of one text, with what the file's template adds (for T5 `</s>` at the end). An empty text gives
    /// the template's tokens alone. Special tokens that are written in the text are recognised as such.
    /// @throws InputError if the text is not UTF-8; the message has the offset of the first bad byte.
    std::vector<std::int64_t> encode(std::string_view utf8_text) const;

    /// The piece of an id, as the file spells it (`▁` stands for a space).
    /// @throws InputError if the id is not in [0, vocab_size()).
    const std::string& piece(std::int64_t id) const;

    /// The id of an added token or, if there is none of that name, of a piece.
    std::optional<std::int64_t> id_of(std::string_view piece) const;

    /// Number of ids, added tokens included: encode() gives ids in [0, vocab_size()).
    std::size_t vocab_size() const;

    /// The id that text outside the vocabulary gets.
    std::int64_t unk_id() const;

  private:
    struct Parts;
    explicit Tokenizer(std::shared_ptr<const Parts> parts);
    std::shared_ptr<const Parts> parts_;
};

}  // namespace musicsteer
