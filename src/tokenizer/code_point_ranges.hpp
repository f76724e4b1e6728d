#pragma once

#include <algorithm>
#include <iterator>
#include <span>

namespace musicsteer::tokenizer {

/// Code points from `first` to `last`, both included.
struct CodePointRange {
    char32_t first;
    char32_t last;
};

/// Whether one of the ranges, which are in ascending order, holds the code point.
inline bool contains(std::span<const CodePointRange> ranges, char32_t code_point) {
    const auto after =
        std::upper_bound(ranges.begin(), ranges.end(), code_point,
                         [](char32_t value, const CodePointRange& range) { return value < range.first; });
    return after != ranges.begin() && code_point <= std::prev(after)->last;
}

}  // namespace musicsteer::tokenizer
