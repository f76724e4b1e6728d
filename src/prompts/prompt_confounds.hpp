#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "musicsteer/prompt_set.hpp"

namespace musicsteer {

/// A word that only one side contains.
struct OneSidedWord {
    std::string word;
    std::size_t positive = 0;  ///< prompts of that side that contain it
    std::size_t negative = 0;
};

/// Differences between the sides of a prompt set besides its concept, which become part of its vectors.
struct PromptConfounds {
    /// The concept's own words, which may differ: those of its name and labels and, in pairs, those that two
    /// or more pairs exchange without any other difference.
    std::vector<std::string> concept_words;
    /// Other words that only one side contains, in at least two prompts; most frequent first.
    std::vector<OneSidedWord> one_sided_words;
    double positive_length = 0.0;  ///< mean number of words
    double negative_length = 0.0;
    bool unequal_lengths = false;             ///< they differ by more than 10 %
    std::vector<std::string> repeated_texts;  ///< in the set more than once, ignoring case and spaces

    bool empty() const { return one_sided_words.empty() && !unequal_lengths && repeated_texts.empty(); }
};

/// Words are runs of letters, digits and what is not ASCII, with hyphens and apostrophes inside, in lower
/// case.
PromptConfounds find_confounds(const PromptSet& set);

}  // namespace musicsteer
