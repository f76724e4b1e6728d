#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "tokenizer/config_view.hpp"
#include "tokenizer/precompiled_charsmap.hpp"
#include "tokenizer/tracked_text.hpp"

namespace musicsteer::tokenizer {

/// Removes white space at the ends.
struct Strip {
    bool left = true;
    bool right = true;
    void normalize(TrackedText& text) const;
};

/// Replaces every occurrence of a text.
struct ReplaceText {
    std::string pattern;
    std::string content;
    void normalize(TrackedText& text) const;
};

/// Replaces every run of at least `shortest_run` spaces: the regular expressions `\s{2,}`, ` {2,}`, `\s+` and
/// ` +`.
struct ReplaceSpaces {
    std::size_t shortest_run = 2;
    bool any_white_space = true;  ///< rather than U+0020 alone
    std::string content;
    void normalize(TrackedText& text) const;
};

/// Each character's full lower case mapping, without context.
struct Lowercase {
    void normalize(TrackedText& text) const;
};

/// The `normalizer` of a tokenizer.json: steps that are applied in turn.
class Normalizer {
  public:
    Normalizer() = default;  ///< leaves texts as they are

    /// @throws InputError for a step that is damaged or not supported.
    explicit Normalizer(const ConfigView& view);

    void normalize(TrackedText& text) const;

  private:
    void add(const ConfigView& view);
    void add_replace(const ConfigView& view);

    std::vector<std::variant<PrecompiledCharsmap, Strip, ReplaceText, ReplaceSpaces, Lowercase>> steps_;
};

}  // namespace musicsteer::tokenizer
