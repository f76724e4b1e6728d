#include "tokenizer/piece_trie.hpp"

#include <algorithm>

namespace musicsteer::tokenizer {

namespace {

/// The strings [begin, end) of the sorted list share their first `depth` bytes, which lead to `node`.
struct Subtree {
    std::size_t begin, end, depth;
    std::uint32_t node;
};

}  // namespace

PieceTrie::PieceTrie(const std::vector<std::pair<std::string, std::uint32_t>>& pieces) {
    std::vector<std::pair<std::string_view, std::uint32_t>> sorted(pieces.begin(), pieces.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });

    nodes_.emplace_back();
    std::vector<Subtree> open{{0, sorted.size(), 0, kRoot}};
    for (std::size_t next = 0; next < open.size(); ++next) {
        auto [begin, end, depth, node] = open[next];
        for (; begin < end && sorted[begin].first.size() == depth; ++begin) {
            if (depth > 0) nodes_[node].number = sorted[begin].second;
        }
        nodes_[node].first_edge = static_cast<std::uint32_t>(edge_bytes_.size());
        while (begin < end) {
            const char byte = sorted[begin].first[depth];
            std::size_t stop = begin;
            while (stop < end && sorted[stop].first[depth] == byte) ++stop;
            const auto child = static_cast<std::uint32_t>(nodes_.size());
            nodes_.emplace_back();
            ++nodes_[node].edges;
            edge_bytes_.push_back(static_cast<unsigned char>(byte));
            edge_targets_.push_back(child);
            open.push_back({begin, stop, depth + 1, child});
            begin = stop;
        }
    }
}

bool PieceTrie::descend(std::uint32_t& node, char byte) const {
    if (nodes_.empty()) return false;
    const auto first = edge_bytes_.begin() + nodes_[node].first_edge;
    const auto last = first + nodes_[node].edges;
    const auto label = static_cast<unsigned char>(byte);
    const auto edge = std::lower_bound(first, last, label);
    if (edge == last || *edge != label) return false;
    node = edge_targets_[static_cast<std::size_t>(edge - edge_bytes_.begin())];
    return true;
}

std::optional<std::uint32_t> PieceTrie::find(std::string_view piece) const {
    std::uint32_t node = kRoot;
    for (const char byte : piece) {
        if (!descend(node, byte)) return std::nullopt;
    }
    if (piece.empty() || nodes_[node].number == kNone) return std::nullopt;
    return nodes_[node].number;
}

}  // namespace musicsteer::tokenizer
