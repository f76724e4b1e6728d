#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace musicsteer {

/// The prompts that a command is given.
struct PromptChoice {
    std::vector<std::string> prompts;  ///< as typed
    std::string file;                  ///< for load_prompt_list; may be empty
    std::int64_t limit = 0;            ///< only the first prompts of the file; 0: all
};

/// The typed prompts, then those of the file.
/// @throws InputError; @throws UsageError if there are none, or a limit without a file
std::vector<std::string> collect_prompts(const PromptChoice& choice);

}  // namespace musicsteer
