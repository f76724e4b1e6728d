#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// Text -> T5 token ids, from a bundle's `tokenizer.json`; gives the same ids as Hugging Face `tokenizers`
/// 0.23 for the checkpoint's file.
///
/// Added tokens such as `</s>` are cut out of the text; the rest is normalised by SentencePiece's precompiled
/// character map and split at white space; each word gets a `▁` in front and is cut into the pieces of a
/// Unigram model; `</s>` comes at the end. The exporter writes such files; others are refused.
///
/// Copies share one immutable model, so copying is cheap, and all members are thread-safe.
class Tokenizer {
  public:
    /// @throws InputError if the file cannot be read, is damaged, or does not have the exporter's form.
    static Tokenizer load(const std::filesystem::path& tokenizer_json);

    /// The same from the file's text; `origin` names it in messages.
    static Tokenizer parse(const std::string& text, const std::string& origin);

    /// Ids of one text, `</s>` included; an empty text gives only `</s>`. Added tokens in the text are
    /// recognised.
    /// @throws InputError if the text is not UTF-8; the message has the offset of the first bad byte.
    std::vector<std::int64_t> encode(std::string_view utf8_text) const;

    /// The piece of an id, as the file spells it (`▁` stands for a space).
    /// @throws InputError if the id is not in [0, vocab_size()).
    const std::string& piece(std::int64_t id) const;

    /// Number of ids, added tokens included: encode() gives ids in [0, vocab_size()).
    std::size_t vocab_size() const;

  private:
    struct Parts;
    explicit Tokenizer(std::shared_ptr<const Parts> parts);
    std::shared_ptr<const Parts> parts_;
};

}  // namespace musicsteer
