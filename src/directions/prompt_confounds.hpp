#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "musicsteer/prompt_set.hpp"

namespace musicsteer {

/// A word that one side says and the other does not.
struct OneSidedWord {
    std::string word;
    std::size_t positive = 0;  ///< prompts of that side that say it
    std::size_t negative = 0;
};

/// What differs between the sides of a prompt set beside its concept, and so becomes part of its vectors.
struct PromptConfounds {
    /// The concept's own words, which may differ: those of its name and labels and, in pairs, what two pairs
    /// or more exchange while nothing else differs between their texts.
    std::vector<std::string> concept_words;
    /// Other words that only one side says, in at least two of its prompts; most frequent first.
    std::vector<OneSidedWord> one_sided_words;
    double positive_length = 0.0;  ///< mean number of words
    double negative_length = 0.0;
    bool unequal_lengths = false;             ///< they differ by more than 10 %
    std::vector<std::string> repeated_texts;  ///< in the set more than once, but for case and spaces

    bool empty() const { return one_sided_words.empty() && !unequal_lengths && repeated_texts.empty(); }
};

/// Words are runs of letters, digits and what is not ASCII, with hyphens and apostrophes inside, in lower
/// case.
PromptConfounds find_confounds(const PromptSet& set);

}  // namespace musicsteer
