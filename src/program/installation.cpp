#include "installation.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "musicsteer/errors.hpp"

namespace musicsteer::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "musicsteer-";

fs::path program_folder() {
    std::error_code error;
    return fs::read_symlink("/proc/self/exe", error).parent_path();
}

fs::path commands_folder() {
    const char* chosen = getenv("MUSICSTEER_EXEC_PATH");
    return chosen != nullptr ? fs::path(chosen) : program_folder();
}

fs::path prompt_sets_folder() {
    return program_folder().parent_path() / "prompts";
}

std::vector<std::string> prompt_set_names() {
    std::vector<std::string> names;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(prompt_sets_folder(), error)) {
        const fs::path& file = entry.path();
        if (file.extension() == ".json" && file.stem() != "schema") names.push_back(file.stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

std::vector<std::string> other_commands() {
    std::vector<std::string> names;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(commands_folder(), error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(kPrefix) && access(entry.path().c_str(), X_OK) == 0)
            names.push_back(name.substr(kPrefix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

void run_other_command(char** argv) {
    const std::vector<std::string> names = other_commands();
    if (argv[0] == nullptr || argv[1] == nullptr) return;
    if (std::find(names.begin(), names.end(), argv[1]) == names.end()) return;
    sigset_t none;  // otherwise signals blocked early would stay blocked
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const fs::path program = commands_folder() / (std::string(kPrefix) + argv[1]);
    execv(program.c_str(), argv + 1);
    throw InputError(program.string() + ": cannot be run: " + std::strerror(errno));
}

std::string find_prompt_set(const std::string& text) {
    const bool is_name = !text.empty() && text.find_first_of("./") == std::string::npos;
    if (!is_name || fs::exists(text)) return text;
    const std::vector<std::string> names = prompt_set_names();
    if (names.empty()) return text;
    if (std::find(names.begin(), names.end(), text) == names.end()) {
        std::string list;
        for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
        throw InputError(text + ": no such file, and the prompt sets of the program are " + list +
                         did_you_mean(text, names));
    }
    return (prompt_sets_folder() / (text + ".json")).string();
}

}  // namespace musicsteer::cli
