#include "musicsteer/errors.hpp"

#include <algorithm>
#include <numeric>

#include "base/printable.hpp"

namespace musicsteer {
namespace {

char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours cost one each.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> current(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        current[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const bool same = lower(a[i - 1]) == lower(b[j - 1]);
            current[j] = std::min({last[j] + 1, current[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
            const bool swapped =
                i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
            if (swapped) current[j] = std::min(current[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, current);
    }
    return last[b.size()];
}

// Where to cut so that no UTF-8 sequence is split.
std::size_t cut_before(std::string_view text, std::size_t limit) {
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
    return limit;
}

}  // namespace

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
    constexpr std::size_t kLongestName =
        256;  // the cost of the distance grows with the product of the lengths
    if (name.size() > kLongestName) return "";
    const std::string* nearest = nullptr;
    std::size_t nearest_distance = 0;
    for (const std::string& candidate : candidates) {
        if (candidate.size() > kLongestName) continue;
        const std::size_t distance = edit_distance(name, candidate);
        const std::size_t limit = (std::max(name.size(), candidate.size()) + 2) / 3;
        if (distance > limit || distance >= std::min(name.size(), candidate.size())) continue;
        if (nearest == nullptr || distance < nearest_distance) {
            nearest = &candidate;
            nearest_distance = distance;
        }
    }
    return nearest == nullptr ? "" : ", did you mean '" + *nearest + "'?";
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kLongest = 80;
    const bool too_long = text.size() > kLongest;
    if (too_long) text = text.substr(0, cut_before(text, kLongest));
    std::string result = "'";
    result += printable(text);
    return result + (too_long ? "...'" : "'");
}

}  // namespace musicsteer
