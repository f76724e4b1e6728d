#include "tokenizer/precompiled_charsmap.hpp"

#include "tokenizer/grapheme_clusters.hpp"
#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

constexpr std::size_t kLongestMappedCluster = 5;  // bytes

int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

std::string decode_base64(const JsonView& view) {
    const std::string text = view.text();
    if (text.size() % 4 != 0) {
        view.fail("not base64: expected a length that is a multiple of 4, found " +
                  std::to_string(text.size()));
    }
    std::size_t digits = text.size();
    while (digits > 0 && text.size() - digits < 2 && text[digits - 1] == '=') --digits;

    std::string bytes;
    bytes.reserve(digits / 4 * 3 + 2);
    std::uint32_t bits = 0;
    int bit_count = 0;
    for (std::size_t i = 0; i < digits; ++i) {
        const int digit = base64_digit(text[i]);
        if (digit < 0) view.fail("not base64 at character " + std::to_string(i));
        bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFU;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes.push_back(static_cast<char>(bits >> bit_count & 0xFFU));
        }
    }
    if ((bits & ((1U << bit_count) - 1)) != 0) view.fail("not base64: its last character has stray bits");
    return bytes;
}

std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
}

// A unit of a Darts double array. The low byte (and bit 31, which only values have) is the label of the edge
// that leads here, bits 9 to 30 say where the unit's own edges start, bit 8 that a value is stored there.
bool has_value(std::uint32_t unit) {
    return (unit >> 8 & 1U) == 1;
}
std::size_t value_of(std::uint32_t unit) {
    return unit & 0x7FFFFFFFU;
}
std::uint32_t label_of(std::uint32_t unit) {
    return unit & 0x800000FFU;
}
std::size_t offset_of(std::uint32_t unit) {
    return static_cast<std::size_t>(unit >> 10) << ((unit & 1U << 9) >> 6);
}

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(const JsonView& base64) {
    const std::string bytes = decode_base64(base64);
    if (bytes.size() < 4) base64.fail("expected at least 4 bytes, found " + std::to_string(bytes.size()));
    const std::size_t trie_bytes = read_u32(bytes, 0);
    if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4) {
        base64.fail("expected a trie whose size is a multiple of 4 bytes and at most the " +
                    std::to_string(bytes.size() - 4) + " that follow, found " + std::to_string(trie_bytes));
    }
    units_.resize(trie_bytes / 4);
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(bytes, 4 + 4 * i);
    replacements_ = bytes.substr(4 + trie_bytes);
    if (const auto bad = find_invalid_utf8(replacements_)) {
        base64.fail("a replacement is not UTF-8, at byte " + std::to_string(*bad) + " after the trie");
    }
    check_trie(base64);
}

void PrecompiledCharsmap::check_trie(const JsonView& place) const {
    std::vector<bool> seen(units_.size());
    std::vector<std::size_t> open;
    const auto visit = [&](std::size_t node) {
        if (node >= units_.size()) place.fail("the trie leads out of itself");
        if (!seen[node]) open.push_back(node);
        seen[node] = true;
    };
    visit(offset_of(units_[0]));
    while (!open.empty()) {
        const std::size_t node = open.back();
        open.pop_back();
        for (std::size_t label = 1; label < 256; ++label) {
            const std::size_t edge = node ^ label;
            if (edge >= units_.size()) place.fail("the trie leads out of itself");
            if (label_of(units_[edge]) != label) continue;
            const std::size_t child = edge ^ offset_of(units_[edge]);
            visit(child);
            if (!has_value(units_[edge])) continue;
            const std::size_t start = value_of(units_[child]);
            const bool inside_character = start < replacements_.size() &&
                                          (static_cast<unsigned char>(replacements_[start]) & 0xC0) == 0x80;
            if (start > replacements_.size() || inside_character) {
                place.fail("the values of the trie do not fit its replacements");
            }
        }
    }
}

std::optional<std::string_view> PrecompiledCharsmap::find(std::string_view key) const {
    std::size_t node = offset_of(units_[0]);
    for (const char c : key) {
        const auto label = static_cast<unsigned char>(c);
        if (label == 0) break;
        node ^= label;
        const std::uint32_t unit = units_[node];
        if (label_of(unit) != label) break;
        node ^= offset_of(unit);
        if (has_value(unit)) {
            const auto rest = std::string_view(replacements_).substr(value_of(units_[node]));
            return rest.substr(0, rest.find('\0'));
        }
    }
    return std::nullopt;
}

std::string PrecompiledCharsmap::normalize(std::string_view text) const {
    std::string result;
    result.reserve(text.size());
    const auto map = [&](std::string_view part) {
        const auto replacement = find(part);
        if (replacement) result += *replacement;
        return replacement.has_value();
    };
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = grapheme_cluster_end(text, begin);
        const std::string_view cluster = text.substr(begin, end - begin);
        begin = end;
        if (cluster.size() <= kLongestMappedCluster && map(cluster)) continue;
        for (std::size_t at = 0; at < cluster.size();) {
            const std::string_view character = cluster.substr(at, decode_utf8(cluster, at).bytes);
            if (!map(character)) result += character;
            at += character.size();
        }
    }
    return result;
}

}  // namespace musicsteer::tokenizer
