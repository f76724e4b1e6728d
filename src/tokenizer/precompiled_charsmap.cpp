#include "tokenizer/precompiled_charsmap.hpp"

#include <algorithm>

#include "base/errors.hpp"
#include "tokenizer/grapheme_clusters.hpp"
#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

constexpr std::size_t kLongestMappedCluster = 5;  // bytes

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
    throw InputError(
        place + ": " + what +
        "; the file is damaged, download it again or save the tokenizer again with transformers");
}

int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

std::string decode_base64(std::string_view text, const std::string& place) {
    if (text.size() % 4 != 0) {
        refuse(place,
               "is not base64, its length should be a multiple of 4 and is " + std::to_string(text.size()));
    }
    std::size_t digits = text.size();
    while (digits > 0 && text.size() - digits < 2 && text[digits - 1] == '=') --digits;

    std::string bytes;
    bytes.reserve(digits / 4 * 3 + 2);
    std::uint32_t bits = 0;
    int bit_count = 0;
    for (std::size_t i = 0; i < digits; ++i) {
        const int digit = base64_digit(text[i]);
        if (digit < 0) refuse(place, "is not base64 at character " + std::to_string(i));
        bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFU;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes.push_back(static_cast<char>(bits >> bit_count & 0xFFU));
        }
    }
    if ((bits & ((1U << bit_count) - 1)) != 0)
        refuse(place, "is not base64, its last character has stray bits");
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

/// The edits that turn a text into its normal form, in `tokenizers`' terms, which decide the origins.
class Edits {
  public:
    explicit Edits(std::size_t reserved) { edits_.reserve(reserved); }

    void keep(char32_t c) { edits_.push_back({c, 0}); }

    /// `old_characters` characters become those of `replacement`.
    void replace(std::ptrdiff_t old_characters, std::string_view replacement) {
        const std::size_t before = edits_.size();
        for (std::size_t at = 0; at < replacement.size();) {
            const CodePoint c = decode_utf8(replacement, at);
            keep(c.value);
            at += c.bytes;
        }
        const auto added = static_cast<std::ptrdiff_t>(edits_.size() - before) - old_characters;
        if (added > 0) {
            for (auto edit = edits_.end() - added; edit != edits_.end(); ++edit) edit->change = 1;
        } else if (added < 0 && !edits_.empty()) {
            // With nothing before it, what is deleted at the start is not accounted for. `tokenizers` does
            // the same, and so the word after it counts as the text's first.
            edits_.back().change += added;
        }
    }

    TrackedText apply_to(const TrackedText& text) const {
        TrackedText result;
        std::size_t at = 0;
        const auto skip_character = [&] {
            if (at < text.bytes.size()) at += decode_utf8(text.bytes, at).bytes;
        };
        for (const Edit& edit : edits_) {
            const std::size_t source = edit.change > 0 && at > 0 ? at - 1 : at;
            const std::size_t origin = text.origins[std::min(source, text.origins.size() - 1)];
            std::string bytes;
            append_utf8(bytes, edit.c);
            result.append(bytes, origin);
            for (std::ptrdiff_t i = edit.change; i <= 0; ++i) skip_character();
        }
        return result;
    }

  private:
    struct Edit {
        char32_t c;
        std::ptrdiff_t change;  ///< 1: c is new; -n: c replaces one character and n more after it are deleted
    };
    std::vector<Edit> edits_;
};

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(std::string_view base64, const std::string& place) {
    const std::string bytes = decode_base64(base64, place);
    if (bytes.size() < 4) {
        refuse(place, "should start with the 4 bytes of a size and has " + std::to_string(bytes.size()));
    }
    const std::size_t trie_bytes = read_u32(bytes, 0);
    if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4) {
        refuse(place, "says that its trie has " + std::to_string(trie_bytes) +
                          " bytes, which should be a multiple of 4 and at most the " +
                          std::to_string(bytes.size() - 4) + " that follow");
    }
    units_.resize(trie_bytes / 4);
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(bytes, 4 + 4 * i);
    replacements_ = bytes.substr(4 + trie_bytes);
    if (const auto bad = find_invalid_utf8(replacements_)) {
        refuse(place,
               "has a replacement that is not UTF-8, at byte " + std::to_string(*bad) + " after the trie");
    }
    check_trie(place);
}

void PrecompiledCharsmap::check_trie(const std::string& place) const {
    std::vector<bool> seen(units_.size());
    std::vector<std::size_t> open;
    const auto visit = [&](std::size_t node) {
        if (node >= units_.size()) refuse(place, "has a trie that leads out of itself");
        if (!seen[node]) open.push_back(node);
        seen[node] = true;
    };
    visit(offset_of(units_[0]));
    while (!open.empty()) {
        const std::size_t node = open.back();
        open.pop_back();
        for (std::size_t label = 1; label < 256; ++label) {
            const std::size_t edge = node ^ label;
            if (edge >= units_.size()) refuse(place, "has a trie that leads out of itself");
            if (label_of(units_[edge]) != label) continue;
            const std::size_t child = edge ^ offset_of(units_[edge]);
            visit(child);
            if (!has_value(units_[edge])) continue;
            const std::size_t start = value_of(units_[child]);
            const bool inside_character = start < replacements_.size() &&
                                          (static_cast<unsigned char>(replacements_[start]) & 0xC0) == 0x80;
            if (start > replacements_.size() || inside_character) {
                refuse(place, "has a trie whose values do not fit its replacements");
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

void PrecompiledCharsmap::normalize(TrackedText& text) const {
    const std::string_view bytes = text.bytes;
    Edits edits(bytes.size());
    bool modified = false;
    const auto map = [&](std::string_view part, std::ptrdiff_t characters) {
        const auto replacement = find(part);
        if (!replacement) return false;
        edits.replace(characters, *replacement);
        return modified = true;
    };
    for (std::size_t begin = 0; begin < bytes.size();) {
        const std::size_t end = grapheme_cluster_end(bytes, begin);
        const std::string_view cluster = bytes.substr(begin, end - begin);
        begin = end;
        const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
        if (cluster.size() <= kLongestMappedCluster &&
            map(cluster, std::count_if(cluster.begin(), cluster.end(), is_start))) {
            continue;
        }
        for (std::size_t at = 0; at < cluster.size();) {
            const CodePoint c = decode_utf8(cluster, at);
            if (!map(cluster.substr(at, c.bytes), 1)) edits.keep(c.value);
            at += c.bytes;
        }
    }
    if (modified) text = edits.apply_to(text);
}

}  // namespace musicsteer::tokenizer
