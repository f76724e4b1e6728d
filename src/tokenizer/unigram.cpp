#include "tokenizer/unigram.hpp"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

constexpr double kUnkPenalty = 10.0;
constexpr std::size_t kUnreached = SIZE_MAX;

PieceTrie index_pieces(const std::vector<ScoredPiece>& pieces) {
    std::vector<std::pair<std::string, std::uint32_t>> numbered;
    numbered.reserve(pieces.size());
    for (std::size_t id = 0; id < pieces.size(); ++id) {
        numbered.emplace_back(pieces[id].piece, static_cast<std::uint32_t>(id));
    }
    return PieceTrie(numbered);
}

}  // namespace

/// The last piece of the best segmentation of a prefix of a word.
struct Unigram::Step {
    std::size_t begin = kUnreached;  ///< byte at which the piece starts
    double score = 0;                ///< of the whole cut so far
    std::uint32_t id = 0;
};

Unigram::Unigram(std::vector<ScoredPiece> pieces, std::uint32_t unk_id)
    : pieces_(std::move(pieces)), unk_id_(unk_id), trie_(index_pieces(pieces_)) {
    double lowest = pieces_.front().score;
    for (const ScoredPiece& p : pieces_) lowest = std::min(lowest, p.score);
    unk_score_ = lowest - kUnkPenalty;
}

std::vector<Unigram::Step> Unigram::best_steps(std::string_view word) const {
    std::vector<Step> best(word.size() + 1);
    for (std::size_t at = 0; at < word.size();) {
        const std::size_t character_bytes = decode_utf8(word, at).bytes;
        const double score_here = best[at].score;
        // Of equal scores the first one found wins, so the order of these calls matters.
        const auto offer = [&](std::size_t length, std::uint32_t id, double piece_score) {
            Step& step = best[at + length];
            const double score = piece_score + score_here;
            if (step.begin == kUnreached || score > step.score) step = {at, score, id};
        };
        bool character_is_piece = false;
        trie_.find_prefixes(word, at, [&](std::size_t length, std::uint32_t id) {
            offer(length, id, pieces_[id].score);
            character_is_piece = character_is_piece || length == character_bytes;
        });
        if (!character_is_piece) offer(character_bytes, unk_id_, unk_score_);
        at += character_bytes;
    }
    return best;
}

void Unigram::encode(std::string_view word, std::vector<std::int64_t>& ids) const {
    const std::vector<Step> best = best_steps(word);

    struct Cut {
        std::size_t begin, end;
        std::uint32_t id;
    };
    std::vector<Cut> cuts;  // from the word's end to its start
    for (std::size_t end = word.size(); end > 0; end = best[end].begin) {
        const Step& step = best[end];
        const bool unknown = step.id == unk_id_;
        if (unknown && !cuts.empty() && cuts.back().id == unk_id_) {
            cuts.back().begin = step.begin;  // unknown pieces next to each other become one
        } else {
            cuts.push_back({step.begin, end, step.id});
        }
    }
    std::reverse(cuts.begin(), cuts.end());
    for (const Cut& cut : cuts) {
        if (cut.id != unk_id_) {
            ids.push_back(cut.id);
            continue;
        }
        // Joined unknown pieces can spell a piece (two characters that together are a piece with too low a
        // score).
        ids.push_back(trie_.find(word.substr(cut.begin, cut.end - cut.begin)).value_or(unk_id_));
    }
}

}  // namespace musicsteer::tokenizer
