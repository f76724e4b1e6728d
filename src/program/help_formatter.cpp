#include "help_formatter.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace musicsteer::cli {
namespace {

constexpr std::size_t kHelpWidth = 80;
constexpr std::size_t kHelpIndent = 28;  ///< of descriptions

/// Value names of options that have none of their own.
const std::map<std::string, std::vector<std::string>> kTypes = {
    {"DIR", {"audio", "base", "like", "merge", "model", "negative-audio", "positive-audio"}},
    {"FILE",
     {"continue", "csv", "file", "files", "from-activations", "melody", "negative", "out", "path", "plan",
      "positive", "prompts", "save-activations", "save-codes", "steer"}},
    {"LIST", {"alphas", "hooks", "layers", "seeds", "sites"}},
    {"NAME",
     {"ablate", "concept", "device", "format", "log-level", "measure", "method", "rows", "site", "value"}},
    {"FRAMES", {"positions"}},
    {"START-END", {"window"}},
    {"BPM:OCTAVES", {"tempo-prior"}},
    {"I/N", {"shard"}},
};
const std::set<std::string> kSampling = {"duration", "guidance", "temperature", "top-k", "top-p"};
/// Options of how the program runs, not of what it does.
const std::set<std::string> kRunning = {"batch-size", "device",    "help",  "log-level",
                                        "memory",     "no-verify", "quiet", "threads"};

std::string long_name(const CLI::Option& option) {
    return option.get_lnames().empty() ? option.get_name() : option.get_lnames().front();
}

/// "FILE", or "" for a flag.
std::string type_of(const CLI::Option& option) {
    if (option.get_type_size() == 0) return "";
    const std::string given = option.get_type_name();
    const std::string type = given.substr(0, given.find(':'));
    if (type == "INT" || type == "UINT" || type == "FLOAT") return "NUM";
    if (type != "TEXT") return type;
    for (const auto& [name, options] : kTypes)
        if (std::find(options.begin(), options.end(), long_name(option)) != options.end()) return name;
    return type;
}

/// "-m,--model DIR"
std::string heading_of(const CLI::Option& option, bool is_positional) {
    std::string text = option.get_name(is_positional, true);
    const std::string type = type_of(option);
    if (!type.empty()) text += " " + type;
    if (option.get_expected_max() > 1) text += " ...";
    return text;
}

/// Description, whether it is required, and the default.
std::string text_of(const CLI::Option& option) {
    std::string text = option.get_description();
    if (option.get_required() && !option.get_positional())
        text += option.get_envname().empty() ? " (needed)" : " (needed, or " + option.get_envname() + ")";
    if (!option.get_default_str().empty()) text += " [" + option.get_default_str() + "]";
    return text;
}

/// Wraps words at kHelpWidth columns; all lines but the first are indented.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t column) {
    std::istringstream words(text);
    std::string lines, word;
    while (words >> word) {
        if (column + word.size() + 1 > kHelpWidth && column > indent) {
            lines += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (!lines.empty()) {
            lines += ' ';
            ++column;
        }
        lines += word;
        column += word.size();
    }
    return lines;
}

std::string entry(const std::string& heading, const std::string& text) {
    std::string line = "  " + heading;
    if (line.size() + 2 > kHelpIndent) {
        line += "\n" + std::string(kHelpIndent, ' ');
    } else {
        line.resize(kHelpIndent, ' ');
    }
    return line + wrapped(text, kHelpIndent, kHelpIndent) + "\n";
}

/// An example that is too long is broken before a flag.
std::string broken_example(const std::string& line) {
    std::string result, rest = line;
    while (rest.size() > kHelpWidth) {
        std::size_t at = rest.rfind(" --", kHelpWidth - 3);
        if (at == std::string::npos || at < 8) break;
        result += rest.substr(0, at) + " \\\n";
        rest = "      " + rest.substr(at + 1);
    }
    return result + rest;
}

}  // namespace

std::string HelpFormatter::make_help(const CLI::App* command, std::string name,
                                     CLI::AppFormatMode mode) const {
    if (mode == CLI::AppFormatMode::Sub) return Formatter::make_help(command, std::move(name), mode);
    return make_description(command) + make_usage(command, std::move(name)) + make_positionals(command) +
           make_sections(*command) + make_subcommands(command, mode) + "\n" + make_footer(command);
}

std::string HelpFormatter::make_sections(const CLI::App& command) const {
    const std::vector<std::string> groups = command.get_groups();
    std::vector<const CLI::Option*> sampling, running;
    std::string text;
    for (const std::string& group : groups) {
        std::vector<const CLI::Option*> here;
        for (const CLI::Option* option : command.get_options()) {
            if (option->get_group() != group || !option->nonpositional() || group.empty()) continue;
            const bool may_be_last = groups.size() > 1 && !option->get_required();
            std::vector<const CLI::Option*>* place = &here;
            if (may_be_last && kSampling.contains(long_name(*option))) place = &sampling;
            if (may_be_last && kRunning.contains(long_name(*option))) place = &running;
            place->push_back(option);
        }
        if (!here.empty()) text += make_group(group, false, here);
    }
    if (!sampling.empty()) text += make_group("Sampling", false, sampling);
    if (!running.empty()) text += make_group("Running", false, running);
    return text;
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
    const auto rank = [](const CLI::Option* option) {
        if (option->get_required()) return 0;
        return kRunning.contains(long_name(*option)) ? 2 : 1;
    };
    std::stable_sort(options.begin(), options.end(), [&](auto* a, auto* b) { return rank(a) < rank(b); });
    std::string text = "\n" + group + ":\n";
    for (const CLI::Option* option : options) text += make_option(option, is_positional);
    return text;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
    return entry(heading_of(*option, is_positional), text_of(*option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
    return entry(command->get_name(), command->get_description());
}

std::string HelpFormatter::make_description(const CLI::App* command) const {
    return wrapped(command->get_description(), 0, 0) + "\n";
}

std::string HelpFormatter::make_footer(const CLI::App* command) const {
    const std::string& footer = command->get_footer();
    std::istringstream lines(footer.substr(std::min(footer.find_first_not_of('\n'), footer.size())));
    std::string text, line, paragraph;
    const auto end_paragraph = [&] {
        if (!paragraph.empty()) text += "\n" + wrapped(paragraph, 0, 0);
        paragraph.clear();
    };
    while (std::getline(lines, line)) {
        const bool is_example = line.starts_with("  ");
        if (!line.empty() && !is_example) {
            paragraph += line + " ";
        } else {
            end_paragraph();
            text += "\n" + broken_example(line);
        }
    }
    end_paragraph();
    return text.empty() ? text : text + "\n";
}

}  // namespace musicsteer::cli
