#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stop_token>
#include <string>

namespace musicsteer::cli {

/// Shared by main and the subcommands: each adds itself to the parser and sets `action` to run.
struct Context {
    std::function<void()> action;
    std::stop_token stop;  ///< Ctrl-C
};

void add_calibrate(CLI::App& app, Context& context);
void add_extract(CLI::App& app, Context& context);
void add_generate(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_measure(CLI::App& app, Context& context);
void add_patch(CLI::App& app, Context& context);
void add_record(CLI::App& app, Context& context);
void add_study(CLI::App& app, Context& context);
void add_sweep(CLI::App& app, Context& context);
void add_tokenize(CLI::App& app, Context& context);
void add_vector(CLI::App& app, Context& context);

}  // namespace musicsteer::cli
