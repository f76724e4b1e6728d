#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/logging.hpp"
#include "base/printable.hpp"
#include "cli.hpp"
#include "io/json_view.hpp"
#include "io/mapped_file.hpp"
#include "kernels/processor.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "program/help_formatter.hpp"
#include "program/installation.hpp"
#include "progress.hpp"

namespace {

using namespace musicsteer;

enum ExitCode { kOk = 0, kRuntimeError = 1, kUsageError = 2, kInterrupted = 130 };

constexpr const char* kProgramFooter = R"(
Commands of the Python package:
  export                    Convert a MusicGen checkpoint to a bundle
  check                     Compare a bundle with transformers
  check-device              Compare a bundle's results on a GPU with the CPU's
  check-precision           Measure what a bundle's precision costs
  report                    Make a page to listen to a sweep
  import                    Convert another tool's vectors to a vector file
  cluster                   Run a sweep on SLURM or Ray

Example, from prompt sets to steered music:
  musicsteer export   facebook/musicgen-small bundles/small
  musicsteer extract  --model bundles/small --prompts tempo --out tempo.safetensors
  musicsteer generate --model bundles/small --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer measure  fast.wav

`musicsteer help COMMAND` says what a command takes.)";

sigset_t ending_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    return signals;
}

void block_signals() {
    const sigset_t signals = ending_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

std::terminate_handler usual_end = nullptr;

[[noreturn]] void end_without_memory() {
    constexpr std::string_view kMessage = "error: out of memory while the libraries start\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage.data(), kMessage.size());
    _exit(kRuntimeError);
}

/// Runs before libraries start, which takes a while: an early signal waits until it is handled, and an
/// exception of theirs, which nothing catches, ends with a message.
void prepare_start() {
    block_signals();
    usual_end = std::set_terminate(end_without_memory);
}
[[gnu::section(".preinit_array"), gnu::used]] void (*prepare_start_first)() = prepare_start;

/// Turns the first Ctrl-C (or SIGTERM) into a request to stop, and the second into an exit. Signals are
/// blocked in every thread but this one, so that no handler interrupts a half-done write.
std::stop_source watch_signals() {
    block_signals();
    std::signal(SIGXFSZ,
                SIG_IGN);  // exceeding a file-size limit becomes an error of the write, like a full disk
    std::stop_source source;
    const auto watch = [signals = ending_signals(), source]() mutable {
        int received = 0;
        sigwait(&signals, &received);
        source.request_stop();
        sigwait(&signals, &received);
        _exit(kInterrupted);
    };
    try {
        std::thread(watch).detach();
    } catch (const std::system_error&) {
        throw ResourceError("no thread can be started: the limit of memory or of processes is too low");
    }
    return source;
}

/// Restarts the program with a shorter spin of OpenMP's threads, unless the user has set it. OpenMP reads the
/// number from the environment when it is loaded (docs/performance.md, "A busy machine").
void wait_gently(char** argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "2000", 1);
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    execv(program.c_str(), argv);  // if this fails, the program continues without it
}

int fail(const std::string& message, ExitCode code) {
    std::cerr << "error: " << printable(message) << '\n';
    return code;
}

/// Records are JSON, so every path and text in them must be UTF-8. An unset shell variable must not look like
/// an option that was left out.
/// @throws UsageError for what is not UTF-8, and for an empty value of anything except a prompt
void check_values(int argc, char** argv) {
    const bool takes_any_text = argc > 1 && argv[1] == std::string_view("tokenize");
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (find_invalid_utf8(argument))
            throw UsageError(in_quotes(argument) +
                             " is not UTF-8, and records can't hold it; rename the file, or retype the text");
        const std::size_t equals = argument.find('=');
        const bool has_flag_before = i > 1 && argv[i - 1][0] == '-' && argv[i - 1][1] != '\0';
        std::string flag;
        if (argument.empty() && has_flag_before) flag = argv[i - 1];
        if (argument.starts_with("--") && equals == argument.size() - 1) flag = argument.substr(0, equals);
        if (argument.empty() && flag.empty() && !takes_any_text)
            throw UsageError("an argument is empty (a shell variable that is not set?)");
        if (flag.empty() || flag == "--prompt" || flag == "-p" || flag == "--negative-prompt") continue;
        throw UsageError(flag + ": its value is empty (a shell variable that is not set?)");
    }
}

std::vector<CLI::App*> with_subcommands(CLI::App& app) {
    std::vector<CLI::App*> all{&app};
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (CLI::App* part : all[i]->get_subcommands([](CLI::App*) { return true; })) all.push_back(part);
    }
    return all;
}

std::vector<std::string> flags_of(const CLI::App& command) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    return flags;
}

/// For "-m": the first flag that begins with it.
std::string flag_for_letter(const std::string& argument, const std::vector<std::string>& flags) {
    for (const std::string& flag : flags)
        if (flag.starts_with("-" + argument.substr(0, 2))) return ", did you mean '" + flag + "'?";
    return "";
}

/// Names of the commands that may follow this one.
std::vector<std::string> parts_of(const CLI::App& app, const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::App* part : command.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(part->get_name());
    if (&command == &app)
        for (const std::string& name : cli::other_commands()) names.push_back(name);
    return names;
}

std::string list_of(const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    return list;
}

constexpr std::string_view kUnknownCommand = "unknown command ";

/// An error for the first unknown command or flag, with the nearest known one; empty if there is none.
std::string unknown_argument(CLI::App& app, int argc, char** argv) {
    CLI::App* command = &app;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        const bool is_number = argument.size() > 1 &&
                               (std::isdigit(static_cast<unsigned char>(argument[1])) || argument[1] == '.');
        if (argument.size() < 2 || argument[0] != '-' || is_number) {
            const std::vector<std::string> known = parts_of(app, *command);
            if (known.empty()) continue;
            if (std::find(known.begin(), known.end(), argument) != known.end()) {
                command = command->get_subcommand(argument);
                continue;
            }
            const std::string nearest = did_you_mean(argument, known);
            return std::string(kUnknownCommand) + in_quotes(argument) +
                   (nearest.empty() ? "; expected one of " + list_of(known) : nearest);
        }
        const std::string name = argument.substr(0, argument.find('='));
        const CLI::Option* option = command->get_option_no_throw(name);
        if (option == nullptr) {
            const std::vector<std::string> flags = flags_of(*command);
            return "unknown flag " + in_quotes(name) +
                   (name.starts_with("--") ? did_you_mean(name, flags) : flag_for_letter(name, flags));
        }
        if (option->get_items_expected_max() > 0 && name == argument) ++i;  // its value
    }
    return "";
}

/// The command that was typed, as far as it is known.
const CLI::App& typed_command(const CLI::App& app) {
    const CLI::App* command = &app;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    return *command;
}

/// What is wrong with the command line, in one sentence.
std::string sentence_of(const CLI::ParseError& error, CLI::App& app, int argc, char** argv) {
    const std::string unknown = unknown_argument(app, argc, argv);
    if (!unknown.empty()) return unknown;
    const std::vector<std::string> parts = parts_of(app, typed_command(app));
    if (!parts.empty()) return "a command is missing; expected one of " + list_of(parts);
    const std::string text = error.what();
    return text == "--model is required" ? cli::kModelIsRequired : text;
}

/// Settings that all commands share.
void complete(CLI::App& app, const std::string& program, bool& is_quiet) {
    for (CLI::App* command : with_subcommands(app)) {
        std::string footer = command->get_footer();
        for (std::size_t at = 0; (at = footer.find("\n  musicsteer ", at)) != std::string::npos; ++at)
            footer.replace(at, 13, "\n  " + program);
        command->footer(footer);
        for (CLI::Option* option : command->get_options()) {
            const std::string type = option->get_type_name();
            if (type == "INT") option->check(cli::signed_whole_number());
            if (type == "UINT") option->check(cli::whole_number());
            if (type == "FLOAT") option->check(cli::number());
            if (option->check_lname("prompts")) option->transform(cli::find_prompt_set);
            if (option->check_lname("model")) option->envname("MUSICSTEER_MODEL");
        }
        if (command->get_subcommands([](CLI::App*) { return true; }).empty()) {
            command->add_flag("-q,--quiet", is_quiet, "No progress and no notes: only warnings and errors");
        }
    }
}

int run(int argc, char** argv) {
    check_values(argc, argv);
    check_processor_limit();
    // The name it was called by, unless it was found on the PATH.
    const std::string program =
        argc > 0 && std::string_view(argv[0]).find('/') != std::string_view::npos ? argv[0] : "musicsteer";
    CLI::App app{"musicsteer: steers MusicGen by adding directions to its decoder's activations",
                 "musicsteer"};
    app.require_subcommand(1);
    app.set_version_flag("--version", "musicsteer " MUSICSTEER_VERSION);
    app.footer(kProgramFooter);
    app.formatter(std::make_shared<cli::HelpFormatter>());

    cli::Context context;
    cli::add_extract(app, context);
    cli::add_generate(app, context);
    cli::add_study(app, context);
    cli::add_sweep(app, context);
    cli::add_calibrate(app, context);
    cli::add_patch(app, context);
    cli::add_vector(app, context);
    cli::add_record(app, context);
    cli::add_measure(app, context);
    cli::add_inspect(app, context);
    cli::add_tokenize(app, context);
    const auto is_asked_for = [&](CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
    if (app.get_subcommands(is_asked_for).empty()) cli::run_other_command(argv);
    const std::stop_source stop = watch_signals();
    context.stop = stop.get_token();
    bool is_quiet = false;
    complete(app, program, is_quiet);
    const auto see_help = [&] {
        std::string command;
        for (const CLI::App* part = &typed_command(app); part != &app; part = part->get_parent())
            command = " " + part->get_name() + command;
        return " (see " + program + command + " --help)";
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& success) {  // --help, --version
        const std::string unknown = unknown_argument(app, argc, argv);
        if (!unknown.starts_with(kUnknownCommand)) return app.exit(success);
        return fail(unknown + see_help(), kUsageError);
    } catch (const CLI::ParseError& error) {
        return fail(sentence_of(error, app, argc, argv) + see_help(), kUsageError);
    }
    if (is_quiet) set_quiet();
    set_before_log(cli::clear_progress);
    const cli::ClearsProgress results(std::cout);
    const cli::ClearsProgress errors(std::cerr);
    context.action();
    std::cout.flush();
    if (!std::cout) throw OutputError("standard output could not be written");
    return kOk;
}

}  // namespace

int main(int argc, char** argv) {
    static std::string help = "--help";
    if (argc > 1 && argv[1] == std::string_view("help")) {  // `help X` is `X --help`
        std::rotate(argv + 1, argv + 2, argv + argc);
        argv[argc - 1] = help.data();
    }
    std::set_terminate(usual_end);
    wait_gently(argv);
    report_changed_mappings();
    try {
        return run(argc, argv);
    } catch (const musicsteer::UsageError& error) {
        return fail(error.what(), kUsageError);
    } catch (const musicsteer::Interrupted& error) {
        return fail(error.what(), kInterrupted);
    } catch (const std::bad_alloc&) {
        return fail("out of memory: use a smaller --batch-size or a shorter --duration", kRuntimeError);
    } catch (const std::exception& error) {
        const std::string text = error.what();  // LibTorch's errors continue with a trace
        return fail(text.substr(0, text.find('\n')), kRuntimeError);
    }
}
