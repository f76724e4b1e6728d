#pragma once

#include <string>
#include <variant>
#include <vector>

#include "tokenizer/config_view.hpp"
#include "tokenizer/tracked_text.hpp"

namespace musicsteer::tokenizer {

/// Cuts at white space, which is dropped.
struct WhitespaceSplit {
    std::vector<TrackedText> split(const TrackedText& text) const;
};

/// Spaces become a visible character, which may also be put in front.
struct Metaspace {
    enum class Prepend {
        kAlways,
        kFirst,  ///< only to what starts where the user's text starts
        kNever
    };
    std::string replacement = "\u2581";
    Prepend prepend = Prepend::kAlways;
    bool cut = true;  ///< in front of each replacement character

    std::vector<TrackedText> split(TrackedText text) const;
};

/// The `pre_tokenizer` of a tokenizer.json: cuts a text into the words that the model sees one by one.
class PreTokenizer {
  public:
    PreTokenizer() = default;  ///< the text is one word

    /// @throws InputError for a step that is damaged or not supported.
    explicit PreTokenizer(const ConfigView& view);

    /// None of the words is empty.
    std::vector<TrackedText> split(const TrackedText& text) const;

  private:
    void add(const ConfigView& view);

    std::vector<std::variant<WhitespaceSplit, Metaspace>> steps_;
};

}  // namespace musicsteer::tokenizer
