#pragma once

#include <CLI/CLI.hpp>

namespace musicsteer::cli {

/// Help of 80 columns: values are FILE, DIR, LIST, NUM, NAME or TEXT. Required options come first. Of a
/// command with several groups of options, sampling and how the program runs, such as threads, come last.
class HelpFormatter : public CLI::Formatter {
  public:
    std::string make_help(const CLI::App* command, std::string name, CLI::AppFormatMode mode) const override;
    std::string make_group(std::string group, bool is_positional,
                           std::vector<const CLI::Option*> options) const override;
    std::string make_option(const CLI::Option* option, bool is_positional) const override;
    std::string make_subcommand(const CLI::App* command) const override;
    std::string make_description(const CLI::App* command) const override;
    std::string make_footer(const CLI::App* command) const override;

  private:
    std::string make_sections(const CLI::App& command) const;
};

}  // namespace musicsteer::cli
