#include "prompts/prompt_choice.hpp"

#include <algorithm>

#include "musicsteer/errors.hpp"
#include "musicsteer/prompt_set.hpp"

namespace musicsteer {

std::vector<std::string> collect_prompts(const PromptChoice& choice) {
    if (choice.limit > 0 && choice.file.empty())
        throw UsageError("a limit counts the prompts of a file, and no --prompts is given");
    std::vector<std::string> texts = choice.prompts;
    if (!choice.file.empty()) {
        const std::vector<Prompt> from_file = load_prompt_list(choice.file);
        const auto size = std::ssize(from_file);
        const std::int64_t count = choice.limit > 0 ? std::min<std::int64_t>(choice.limit, size) : size;
        for (std::int64_t i = 0; i < count; ++i) texts.push_back(from_file[static_cast<std::size_t>(i)].text);
    }
    if (texts.empty()) throw UsageError("no prompts: give --prompt or --prompts");
    return texts;
}

}  // namespace musicsteer
