#include "prompts/prompt_confounds.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace musicsteer {
namespace {

PromptSet set_of(const std::vector<std::string>& positive, const std::vector<std::string>& negative,
                 bool paired) {
    PromptSet set;
    set.concept_name = "tempo";
    set.paired = paired;
    set.positive.label = "fast";
    set.negative.label = "slow";
    for (const std::string& text : positive) set.positive.prompts.push_back({text, std::nullopt});
    for (const std::string& text : negative) set.negative.prompts.push_back({text, std::nullopt});
    return set;
}

TEST(PromptConfounds, WhatPairsExchangeIsTheConceptAndNothingElseDiffers) {
    const PromptConfounds found = find_confounds(set_of(
        {"a fast piano tune", "Fast rock, loud", "rapid organ music", "a rapid waltz"},
        {"a slow piano tune", "slow rock, loud", "unhurried organ music", "an unhurried waltz"}, true));
    EXPECT_THAT(found.concept_words, ::testing::ElementsAre("fast", "rapid", "slow", "tempo", "unhurried"));
    EXPECT_TRUE(found.empty());
}

// Three fast prompts are of a piano, none of the slow ones.
TEST(PromptConfounds, AnInstrumentOfOneSideOnlyIsNamed) {
    const std::vector<std::string> fast{"fast piano", "piano, fast", "a fast piano tune", "fast rock"};
    const std::vector<std::string> slow{"slow organ", "harp, slow", "a slow flute tune", "slow rock"};
    for (const bool paired : {false, true}) {
        const PromptConfounds found = find_confounds(set_of(fast, slow, paired));
        ASSERT_EQ(found.one_sided_words.size(), 1U) << paired;
        EXPECT_EQ(found.one_sided_words[0].word, "piano");
        EXPECT_EQ(found.one_sided_words[0].positive, 3U);
        EXPECT_EQ(found.one_sided_words[0].negative, 0U);
        EXPECT_FALSE(found.empty());
    }
}

// piano.csv, whose columns are "positive" and "negative"
TEST(PromptConfounds, NamesOfFilesAndColumnsAreNoWordsOfTheConcept) {
    PromptSet set = set_of({"fast piano", "positive fast piano", "positive rock"},
                           {"slow organ", "slow harp", "rock"}, false);
    set.concept_name = "piano";
    set.positive.label = "positive";
    set.negative.label = "negative";
    EXPECT_THAT(find_confounds(set).concept_words, ::testing::ElementsAre("negative", "piano", "positive"));
    set.names_concept = set.names_sides = false;
    const PromptConfounds found = find_confounds(set);
    EXPECT_TRUE(found.concept_words.empty());
    std::vector<std::string> words;
    for (const OneSidedWord& word : found.one_sided_words) words.push_back(word.word);
    EXPECT_THAT(words, ::testing::UnorderedElementsAre("fast", "piano", "positive", "slow"));
}

TEST(PromptConfounds, WhatPairsAddIsNoExchange) {
    const PromptConfounds found = find_confounds(
        set_of({"fast piano with drums", "fast organ with drums", "fast harp with drums", "fast flute"},
               {"slow piano", "slow organ", "slow harp", "slow flute"}, true));
    ASSERT_EQ(found.one_sided_words.size(), 2U) << "drums, with";
    EXPECT_TRUE(found.unequal_lengths);
    EXPECT_DOUBLE_EQ(found.positive_length, 3.5);
    EXPECT_DOUBLE_EQ(found.negative_length, 2.0);
}

TEST(PromptConfounds, TextsThatAreRepeatedAreNamed) {
    const PromptConfounds found = find_confounds(
        set_of({"fast piano", "Fast  piano", "fast rock"}, {"slow piano", "fast rock"}, false));
    EXPECT_THAT(found.repeated_texts, ::testing::ElementsAre("Fast  piano", "fast rock"));
}

}  // namespace
}  // namespace musicsteer
