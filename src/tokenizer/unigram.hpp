#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/piece_trie.hpp"

namespace musicsteer::tokenizer {

struct ScoredPiece {
    std::string piece;
    double score;  ///< natural logarithm of the piece's probability
};

/// The Unigram model: cuts a word into the pieces whose scores add up to most (Kudo 2018, arXiv 1804.10959).
class Unigram {
  public:
    struct Options {
        std::uint32_t unk_id = 0;  ///< what no piece covers gets this id
        bool byte_fallback =
            false;  ///< spell what no piece covers as <0x00>...<0xFF>, if all of them are pieces
    };

    /// `options.unk_id` must be less than the number of pieces. Ids are places in `pieces`.
    Unigram(std::vector<ScoredPiece> pieces, const Options& options);

    /// Appends the ids of one word (valid UTF-8). Linear in its length.
    void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

    std::size_t size() const { return pieces_.size(); }
    const std::string& piece(std::size_t id) const { return pieces_[id].piece; }
    std::optional<std::uint32_t> id_of(std::string_view piece) const { return trie_.find(piece); }
    std::uint32_t unk_id() const { return options_.unk_id; }

  private:
    struct Step;
    std::vector<Step> best_steps(std::string_view word) const;
    void append_unknown(std::string_view text, std::vector<std::int64_t>& ids) const;

    std::vector<ScoredPiece> pieces_;
    Options options_;
    PieceTrie trie_;
    double unk_score_ = 0;
};

}  // namespace musicsteer::tokenizer
