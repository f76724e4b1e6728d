#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <thread>

#include "base/logging.hpp"
#include "cli.hpp"
#include "musicsteer/errors.hpp"

namespace {

using namespace musicsteer;

enum ExitCode { kOk = 0, kRuntimeError = 1, kUsageError = 2, kInterrupted = 130 };

constexpr const char* kProgramExample = R"(
Example, from prompt sets to steered music:
  scripts/export_model.py facebook/musicgen-small bundles/small
  musicsteer extract  --model bundles/small --prompts prompts/tempo.json --out tempo.safetensors
  musicsteer generate --model bundles/small --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer measure  fast.wav)";

/// Turns the first Ctrl-C (or SIGTERM) into a request to stop, and the second into an exit. Signals are
/// blocked in every thread but this one, so that no handler interrupts a half-done write.
std::stop_source watch_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of the write, as a full disk is
    std::stop_source source;
    const auto watch = [signals, source]() mutable {
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

/// Starts the program anew with OpenMP's threads waiting for each other gently, unless the user has decided
/// how. The number is read from the environment when the library is loaded (docs/performance.md, "A busy
/// machine", has what it is worth).
void wait_gently(char** argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "2000", 1);
    std::error_code error;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    execv(program.c_str(), argv);  // if that is not possible, it goes on as it is
}

int fail(const std::string& message, ExitCode code) {
    std::cerr << "error: " << message << '\n';
    return code;
}

/// An unset shell variable must not read as an option that was left out.
/// @throws UsageError for an empty value of anything but a prompt
void check_values(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        const std::size_t equals = argument.find('=');
        const bool has_flag_before = i > 1 && std::string_view(argv[i - 1]).starts_with("--");
        std::string flag;
        if (argument.empty() && has_flag_before) flag = argv[i - 1];
        if (argument.starts_with("--") && equals == argument.size() - 1) flag = argument.substr(0, equals);
        if (flag.empty() || flag == "--prompt" || flag == "--negative-prompt") continue;
        throw UsageError(flag + ": its value is empty (a shell variable that is not set?)");
    }
}

int run(int argc, char** argv) {
    check_values(argc, argv);
    CLI::App app{"musicsteer: steers MusicGen by adding directions to its decoder's activations",
                 "musicsteer"};
    app.require_subcommand(1);
    app.set_version_flag("--version", "musicsteer " MUSICSTEER_VERSION);
    app.footer(kProgramExample);
    app.get_formatter()->column_width(34);

    cli::Context context;
    const std::stop_source stop = watch_signals();
    context.stop = stop.get_token();
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
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& success) {  // --help, --version
        return app.exit(success);
    } catch (const CLI::ParseError& error) {
        const auto subcommands = app.get_subcommands();
        const std::string command = subcommands.empty() ? "" : " " + subcommands.front()->get_name();
        return fail(std::string(error.what()) + " (see musicsteer" + command + " --help)", kUsageError);
    }
    context.action();
    std::cout.flush();
    if (!std::cout) throw OutputError("standard output could not be written");
    return kOk;
}

}  // namespace

int main(int argc, char** argv) {
    wait_gently(argv);
    try {
        return run(argc, argv);
    } catch (const musicsteer::UsageError& error) {
        return fail(error.what(), kUsageError);
    } catch (const musicsteer::Interrupted& error) {
        return fail(error.what(), kInterrupted);
    } catch (const std::bad_alloc&) {
        return fail("out of memory: use a smaller --batch-size or a shorter --duration", kRuntimeError);
    } catch (const std::exception& error) {
        const std::string text = error.what();  // LibTorch's errors go on with a trace
        return fail(text.substr(0, text.find('\n')), kRuntimeError);
    }
}
