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

/// The Unigram model: cuts a word into the pieces with the largest sum of scores (Kudo 2018, arXiv
/// 1804.10959).
class Unigram {
  public:
    /// Ids are indices in `pieces`. Text that no piece covers gets `unk_id`, which must be a valid index.
    Unigram(std::vector<ScoredPiece> pieces, std::uint32_t unk_id);

    /// Appends the ids of one word (valid UTF-8). Linear in its length.
    void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

    std::size_t size() const { return pieces_.size(); }
    const std::string& piece(std::size_t id) const { return pieces_[id].piece; }
    std::optional<std::uint32_t> id_of(std::string_view piece) const { return trie_.find(piece); }

  private:
    struct Step;
    std::vector<Step> best_steps(std::string_view word) const;

    std::vector<ScoredPiece> pieces_;
    std::uint32_t unk_id_;
    PieceTrie trie_;
    double unk_score_ = 0;
};

}  // namespace musicsteer::tokenizer
