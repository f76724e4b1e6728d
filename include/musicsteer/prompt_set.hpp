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
    bool paired = false;        ///< prompt i of one side belongs with prompt i of the other
    bool names_concept = true;  ///< false: the concept's name is the file's
    bool names_sides = true;    ///< false: the labels are "positive" and "negative", or files' names
    std::string sha256;         ///< of the file's bytes

    /// JSON; a table (CSV, TSV) or JSON Lines with a positive and a negative text in each row, which then are
    /// pairs; or JSON with two lists. Names that are missing are taken from the file's name.
    /// @throws InputError if the file is missing, not JSON or UTF-8, has an empty side, a blank prompt, the
    /// same prompt twice on a side, a wrong type, an unknown key, sides of unequal size paired by index,
    /// equal labels, or is a plain prompt list, without numbers, where a concept is needed. The message names
    /// the file and the place: "tempo.json: negative.prompts[3]: expected text, found a number".
    static PromptSet load(const std::filesystem::path& path);
    /// JSON alone. @param origin  named in messages.
    static PromptSet parse(const std::string& json, const std::string& origin);
    /// One file of prompts for each side, labelled by the files' names; pairs if both have the same number.
    static PromptSet of_files(const std::filesystem::path& positive, const std::filesystem::path& negative);
};

/// A file of prompts to generate from: a neutral set ({"prompts": [...]}), a bare JSON list of texts, a table
/// or JSON Lines with a column "prompt", or plain text with one prompt a line (# starts a comment line; blank
/// lines don't count; white space around a prompt is cut). The format is told from the name and the
/// beginning. Concept sets and YAML are refused.
/// @throws InputError as above.
std::vector<Prompt> load_prompt_list(const std::filesystem::path& path);

/// The same, but of plain text every line as it is, including blank ones.
std::vector<std::string> load_texts(const std::filesystem::path& path);

}  // namespace musicsteer
