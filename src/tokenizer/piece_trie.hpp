#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace musicsteer::tokenizer {

/// A set of numbered byte strings that finds all of those that start at a place in a text.
class PieceTrie {
  public:
    PieceTrie() = default;

    /// The last of equal strings counts. Empty strings are ignored.
    explicit PieceTrie(const std::vector<std::pair<std::string, std::uint32_t>>& pieces);

    /// Calls `found(length_bytes, number)` for each string that starts at byte `at`, shortest first.
    template <typename Found>
    void find_prefixes(std::string_view text, std::size_t at, const Found& found) const {
        std::uint32_t node = kRoot;
        for (std::size_t i = at; i < text.size() && descend(node, text[i]); ++i) {
            if (nodes_[node].number != kNone) found(i + 1 - at, nodes_[node].number);
        }
    }

    /// The number of exactly this string.
    std::optional<std::uint32_t> find(std::string_view piece) const;

  private:
    static constexpr std::uint32_t kRoot = 0;
    static constexpr std::uint32_t kNone = UINT32_MAX;

    /// A node's edges are adjacent, in order of their bytes.
    struct Node {
        std::uint32_t first_edge = 0;
        std::uint32_t edges = 0;
        std::uint32_t number = kNone;
    };

    /// Moves `node` along the edge of `byte`; false if it has none.
    bool descend(std::uint32_t& node, char byte) const;

    std::vector<Node> nodes_;
    std::vector<unsigned char> edge_bytes_;
    std::vector<std::uint32_t> edge_targets_;
};

}  // namespace musicsteer::tokenizer
