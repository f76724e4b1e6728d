#include "tokenizer/grapheme_clusters.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "tokenizer/unicode17_breaks.hpp"
#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

bool contains(std::span<const unicode17::CodePointRange> ranges, char32_t code_point) {
    const auto after = std::upper_bound(
        ranges.begin(), ranges.end(), code_point,
        [](char32_t value, const unicode17::CodePointRange& range) { return value < range.first; });
    return after != ranges.begin() && code_point <= std::prev(after)->last;
}

/// utf8proc's break classes as of Unicode 17.
int break_class(char32_t c) {
    if (c < 0x80) {
        if (c == '\r') return UTF8PROC_BOUNDCLASS_CR;
        if (c == '\n') return UTF8PROC_BOUNDCLASS_LF;
        return c < 0x20 || c == 0x7F ? UTF8PROC_BOUNDCLASS_CONTROL : UTF8PROC_BOUNDCLASS_OTHER;
    }
    if (contains(unicode17::kNewExtend, c)) return UTF8PROC_BOUNDCLASS_EXTEND;
    if (contains(unicode17::kNewSpacingMark, c)) return UTF8PROC_BOUNDCLASS_SPACINGMARK;
    if (contains(unicode17::kNewControl, c)) return UTF8PROC_BOUNDCLASS_CONTROL;
    if (contains(unicode17::kNewHangulV, c)) return UTF8PROC_BOUNDCLASS_V;
    if (c == unicode17::kNewPrepend) return UTF8PROC_BOUNDCLASS_PREPEND;
    if (c == unicode17::kFormerPrepend) return UTF8PROC_BOUNDCLASS_OTHER;
    if (contains(unicode17::kExtendedPictographic, c)) return UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
    const int of_utf8proc = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
    return of_utf8proc == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC ? UTF8PROC_BOUNDCLASS_OTHER : of_utf8proc;
}

bool is_control(int c) {
    return c == UTF8PROC_BOUNDCLASS_CONTROL || c == UTF8PROC_BOUNDCLASS_CR || c == UTF8PROC_BOUNDCLASS_LF;
}

/// Rules GB6 to GB8: letters of one Hangul syllable.
bool joins_hangul(int before, int after) {
    switch (before) {
        case UTF8PROC_BOUNDCLASS_L:
            return after == UTF8PROC_BOUNDCLASS_L || after == UTF8PROC_BOUNDCLASS_V ||
                   after == UTF8PROC_BOUNDCLASS_LV || after == UTF8PROC_BOUNDCLASS_LVT;
        case UTF8PROC_BOUNDCLASS_LV:
        case UTF8PROC_BOUNDCLASS_V:
            return after == UTF8PROC_BOUNDCLASS_V || after == UTF8PROC_BOUNDCLASS_T;
        case UTF8PROC_BOUNDCLASS_LVT:
        case UTF8PROC_BOUNDCLASS_T:
            return after == UTF8PROC_BOUNDCLASS_T;
        default:
            return false;
    }
}

/// State of the cluster so far for the rules that look back more than one character (GB9c, GB11, GB12).
class ClusterState {
  public:
    explicit ClusterState(char32_t first) { add(first); }

    bool joins(char32_t next) const {
        const int after = break_class(next);
        if (last_class_ == UTF8PROC_BOUNDCLASS_CR && after == UTF8PROC_BOUNDCLASS_LF) return true;  // GB3
        if (is_control(last_class_) || is_control(after)) return false;  // GB4, GB5
        if (joins_hangul(last_class_, after)) return true;
        if (after == UTF8PROC_BOUNDCLASS_EXTEND || after == UTF8PROC_BOUNDCLASS_ZWJ) return true;  // GB9
        if (after == UTF8PROC_BOUNDCLASS_SPACINGMARK) return true;                                 // GB9a
        if (last_class_ == UTF8PROC_BOUNDCLASS_PREPEND) return true;                               // GB9b
        if (conjunct_ == Conjunct::kLinked && contains(unicode17::kConjunctConsonant, next)) return true;
        if (pictograph_ == Pictograph::kJoiner && after == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC) {
            return true;
        }
        return odd_flag_letters_ && after == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR;
    }

    void add(char32_t next) {
        last_class_ = break_class(next);
        odd_flag_letters_ = last_class_ == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR && !odd_flag_letters_;
        add_to_conjunct(next);
        add_to_pictograph();
    }

  private:
    enum class Conjunct { kNone, kConsonant, kLinked };
    enum class Pictograph { kNone, kBase, kJoiner };

    void add_to_conjunct(char32_t next) {
        constexpr char32_t kZeroWidthNonJoiner = 0x200C;  // extends a cluster, but ends a conjunct
        if (contains(unicode17::kConjunctConsonant, next)) {
            conjunct_ = Conjunct::kConsonant;
        } else if (contains(unicode17::kConjunctLinker, next)) {
            if (conjunct_ == Conjunct::kConsonant) conjunct_ = Conjunct::kLinked;
        } else {
            const bool extends =
                last_class_ == UTF8PROC_BOUNDCLASS_EXTEND || last_class_ == UTF8PROC_BOUNDCLASS_ZWJ;
            if (!extends || next == kZeroWidthNonJoiner) conjunct_ = Conjunct::kNone;
        }
    }

    void add_to_pictograph() {
        if (last_class_ == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC) {
            pictograph_ = Pictograph::kBase;
        } else if (last_class_ == UTF8PROC_BOUNDCLASS_ZWJ && pictograph_ == Pictograph::kBase) {
            pictograph_ = Pictograph::kJoiner;
        } else if (last_class_ != UTF8PROC_BOUNDCLASS_EXTEND || pictograph_ == Pictograph::kJoiner) {
            pictograph_ = Pictograph::kNone;
        }
    }

    int last_class_ = UTF8PROC_BOUNDCLASS_START;
    bool odd_flag_letters_ = false;
    Conjunct conjunct_ = Conjunct::kNone;
    Pictograph pictograph_ = Pictograph::kNone;
};

}  // namespace

std::size_t grapheme_cluster_end(std::string_view text, std::size_t begin) {
    const auto is_plain_ascii = [&](std::size_t at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        return byte >= 0x20 && byte < 0x7F;
    };
    if (is_plain_ascii(begin) && (begin + 1 == text.size() || is_plain_ascii(begin + 1))) return begin + 1;

    CodePoint c = decode_utf8(text, begin);
    std::size_t end = begin + c.bytes;
    ClusterState cluster(c.value);
    while (end < text.size()) {
        c = decode_utf8(text, end);
        if (!cluster.joins(c.value)) break;
        cluster.add(c.value);
        end += c.bytes;
    }
    return end;
}

}  // namespace musicsteer::tokenizer
