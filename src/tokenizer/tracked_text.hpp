#pragma once

#include <cstddef>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer::tokenizer {

/// A text under normalisation that remembers where each of its bytes came from.
///
/// Only Metaspace's `prepend_scheme: first` asks for it: it prepends to a word whose first byte stems from
/// byte 0 of what the user wrote.
struct TrackedText {
    std::string bytes;  ///< valid UTF-8
    std::vector<std::size_t>
        origins;  ///< for each byte, the offset in the input of the character it stems from

    TrackedText() = default;

    /// The input itself: each byte of a character has the offset of the character's first byte.
    explicit TrackedText(std::string_view input) : bytes(input), origins(input.size()) {
        std::iota(origins.begin(), origins.end(), std::size_t{0});
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const bool continues = (static_cast<unsigned char>(bytes[i]) & 0xC0) == 0x80;
            if (continues) origins[i] = origins[i - 1];
        }
    }

    bool empty() const { return bytes.empty(); }

    void append(std::string_view more, std::size_t origin) {
        bytes.append(more);
        origins.insert(origins.end(), more.size(), origin);
    }

    void append(const TrackedText& other, std::size_t begin, std::size_t end) {
        bytes.append(other.bytes, begin, end - begin);
        const auto first = other.origins.begin();
        origins.insert(origins.end(), first + static_cast<std::ptrdiff_t>(begin),
                       first + static_cast<std::ptrdiff_t>(end));
    }

    TrackedText slice(std::size_t begin, std::size_t end) const {
        TrackedText part;
        part.append(*this, begin, end);
        return part;
    }
};

}  // namespace musicsteer::tokenizer
