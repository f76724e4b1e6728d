#include "prompts/prompt_confounds.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <set>

namespace musicsteer {
namespace {

constexpr std::size_t kMinPrompts = 2;    // that contain a word before it is reported
constexpr double kLengthTolerance = 0.1;  // of the longer side's mean

using Words = std::set<std::string>;

bool is_letter(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    const auto finish = [&] {
        while (!word.empty() && !is_letter(word.back())) word.pop_back();
        if (!word.empty()) words.push_back(word);
        word.clear();
    };
    for (const char c : text) {
        if (is_letter(c)) {
            word += static_cast<char>(static_cast<unsigned char>(c) < 0x80 ? std::tolower(c) : c);
        } else if ((c == '-' || c == '\'') && !word.empty()) {
            word += c;
        } else {
            finish();
        }
    }
    finish();
    return words;
}

Words distinct_words(const std::string& text) {
    const std::vector<std::string> words = words_of(text);
    return {words.begin(), words.end()};
}

std::string normalised(const std::string& text) {
    std::string result;
    for (const std::string& word : words_of(text)) result += word + " ";
    return result;
}

Words only_in(const Words& a, const Words& b) {
    Words result;
    std::ranges::set_difference(a, b, std::inserter(result, result.end()));
    return result;
}

/// A pair that differs in one word a side, apart from articles, exchanges that word. If more differs, it is
/// unclear what belongs to the concept. A word that is exchanged only once may be a slip.
Words exchanged_words(const PromptSet& set) {
    std::map<std::string, std::size_t> pairs;
    for (std::size_t i = 0; i < set.positive.prompts.size(); ++i) {
        const Words positive = distinct_words(set.positive.prompts[i].text);
        const Words negative = distinct_words(set.negative.prompts[i].text);
        Words plus = only_in(positive, negative), minus = only_in(negative, positive);
        for (Words* side : {&plus, &minus})
            for (const char* article : {"a", "an"}) side->erase(article);
        if (plus.size() != 1 || minus.size() != 1) continue;
        for (const Words& side : {plus, minus}) ++pairs[*side.begin()];
    }
    Words words;
    for (const auto& [word, count] : pairs)
        if (count >= kMinPrompts) words.insert(word);
    return words;
}

Words concept_words(const PromptSet& set) {
    Words words = set.paired ? exchanged_words(set) : Words{};
    if (set.names_concept) words.merge(distinct_words(set.concept_name));
    if (set.names_sides)
        for (const PromptSide* side : {&set.positive, &set.negative})
            words.merge(distinct_words(side->label));
    return words;
}

std::map<std::string, std::size_t> prompts_by_word(const PromptSide& side) {
    std::map<std::string, std::size_t> counts;
    for (const Prompt& prompt : side.prompts)
        for (const std::string& word : distinct_words(prompt.text)) ++counts[word];
    return counts;
}

std::vector<OneSidedWord> one_sided_words(const PromptSet& set, const Words& of_concept) {
    std::map<std::string, OneSidedWord> found;
    for (const auto& [word, count] : prompts_by_word(set.positive)) found[word].positive = count;
    for (const auto& [word, count] : prompts_by_word(set.negative)) found[word].negative = count;
    std::vector<OneSidedWord> words;
    for (auto& [word, counts] : found) {
        const bool is_one_sided = counts.positive == 0 || counts.negative == 0;
        if (!is_one_sided || counts.positive + counts.negative < kMinPrompts || of_concept.contains(word))
            continue;
        words.push_back({word, counts.positive, counts.negative});
    }
    std::ranges::stable_sort(words, std::ranges::greater(),
                             [](const OneSidedWord& word) { return word.positive + word.negative; });
    return words;
}

double mean_length(const PromptSide& side) {
    double words = 0.0;
    for (const Prompt& prompt : side.prompts) words += static_cast<double>(words_of(prompt.text).size());
    return words / static_cast<double>(side.prompts.size());
}

std::vector<std::string> repeated_texts(const PromptSet& set) {
    std::map<std::string, std::size_t> counts;
    std::vector<std::string> repeated;
    for (const PromptSide* side : {&set.positive, &set.negative})
        for (const Prompt& prompt : side->prompts)
            if (++counts[normalised(prompt.text)] == 2) repeated.push_back(prompt.text);
    return repeated;
}

}  // namespace

PromptConfounds find_confounds(const PromptSet& set) {
    PromptConfounds confounds;
    const Words of_concept = concept_words(set);
    confounds.concept_words.assign(of_concept.begin(), of_concept.end());
    confounds.one_sided_words = one_sided_words(set, of_concept);
    confounds.positive_length = mean_length(set.positive);
    confounds.negative_length = mean_length(set.negative);
    confounds.unequal_lengths =
        std::abs(confounds.positive_length - confounds.negative_length) >
        kLengthTolerance * std::max(confounds.positive_length, confounds.negative_length);
    confounds.repeated_texts = repeated_texts(set);
    return confounds;
}

}  // namespace musicsteer
