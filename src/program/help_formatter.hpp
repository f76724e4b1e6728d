#pragma once

#include <CLI/CLI.hpp>

namespace musicsteer::cli {

/// Help of 80 columns: values are FILE, DIR, LIST, NUM, NAME or TEXT; required options come first, and
/// options of how the program runs, such as threads, last.
class HelpFormatter : public CLI::Formatter {
  public:
    std::string make_group(std::string group, bool is_positional,
                           std::vector<const CLI::Option*> options) const override;
    std::string make_option(const CLI::Option* option, bool is_positional) const override;
    std::string make_subcommand(const CLI::App* command) const override;
    std::string make_description(const CLI::App* command) const override;
    std::string make_footer(const CLI::App* command) const override;
};

}  // namespace musicsteer::cli
