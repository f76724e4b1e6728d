#pragma once

#include <string>
#include <vector>

namespace musicsteer::cli {

/// Commands that are programs of their own: NAME of each musicsteer-NAME of this installation, sorted. They
/// lie in MUSICSTEER_EXEC_PATH, which the Python package's entry sets, or else beside this program.
std::vector<std::string> other_commands();

/// Becomes musicsteer-NAME if the first argument is NAME of one, as git becomes git-NAME; returns if there is
/// none.
/// @throws InputError if there is one that cannot be run
void run_other_command(char** argv);

/// The file of a prompt set that is named as shipped, such as "tempo"; any other text as it is.
std::string find_prompt_set(const std::string& text);

}  // namespace musicsteer::cli
