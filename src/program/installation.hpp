#pragma once

#include <string>
#include <vector>

namespace musicsteer::cli {

/// Commands that are programs of their own: NAME of each musicsteer-NAME of this installation, sorted. They
/// are in MUSICSTEER_EXEC_PATH, which the Python package's entry sets, or beside this program.
std::vector<std::string> other_commands();

/// Becomes musicsteer-NAME if the first argument is such a NAME, as git does; returns if there is none.
/// @throws InputError if it exists and cannot be run
void run_other_command(char** argv);

/// The file of a shipped prompt set named by `text`, such as "tempo"; any other text unchanged.
/// @throws InputError for a bare word that is neither a file nor such a name
std::string find_prompt_set(const std::string& text);

}  // namespace musicsteer::cli
