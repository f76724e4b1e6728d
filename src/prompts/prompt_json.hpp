#pragma once

#include <string>
#include <vector>

#include "musicsteer/prompt_set.hpp"

// Prompts in JSON. PromptSet::parse reads sets with two sides.

namespace musicsteer {

/// A list of prompts, or a neutral set. @throws InputError naming the place
std::vector<Prompt> parse_prompt_list(const std::string& text, const std::string& origin);

}  // namespace musicsteer
