#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace musicsteer {

struct Prompt {
    std::string text;
    std::optional<double> value;  ///< a number that belongs to the prompt, such as its tempo in BPM
};

struct PromptSide {
    std::string label;
    std::vector<Prompt> prompts;
};

/// Two sides of prompts that differ in one concept (prompts/schema.json). A set of numbered prompts, one list
/// in which every prompt has a value, is read as two sides: "high" holds the larger half of the values, "low"
/// the rest, each in the order of the list.
struct PromptSet {
    std::string concept_name;
    std::string description;
    PromptSide positive;
    PromptSide negative;
    bool paired = false;  ///< prompt i of one side belongs with prompt i of the other
    std::string sha256;   ///< of the file's bytes

    /// @throws InputError if the file is missing, no JSON, no UTF-8, has an empty side, a blank prompt, the
    /// same prompt twice on a side, a wrong type, an unknown key, sides of unequal size paired by index,
    /// equal labels, or is a plain prompt list, without numbers, where a concept is needed. The message names
    /// the file and the place: "tempo.json: negative.prompts[3]: expected text, found a number".
    static PromptSet load(const std::filesystem::path& path);
    /// @param origin  named in messages.
    static PromptSet parse(const std::string& json, const std::string& origin);
};

/// A file of prompts to generate from: a neutral set ({"prompts": [...]}), a bare JSON list of texts, or
/// plain text with one prompt a line (# starts a comment line; blank lines don't count; white space around a
/// prompt is cut). A file that is named .json or begins with { or [ is read as JSON. A concept set is refused
/// with a sentence.
/// @throws InputError as above.
std::vector<Prompt> load_prompt_list(const std::filesystem::path& path);

}  // namespace musicsteer
