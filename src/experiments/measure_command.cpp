#include "experiments/measure_command.hpp"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "experiments/clip_record.hpp"
#include "experiments/measure_target.hpp"
#include "musicsteer/metrics.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kLongestAnswer = 1 << 20;
constexpr int kPatience_ms = 2'000;  ///< for a command to end by itself
constexpr int kPause_ms = 20;        ///< between two looks

/// What it hears first: four ticks in two seconds of silence.
Audio ticks() {
    constexpr std::int64_t kRate = 32'000;
    Audio audio;
    audio.sample_rate_hz = kRate;
    audio.channels = 1;
    audio.samples.assign(2 * kRate, 0.0F);
    for (std::int64_t start = 0; start < 2 * kRate; start += kRate / 2) {
        for (std::int64_t i = 0; i < 400; ++i) {
            const auto time = static_cast<float>(i);
            audio.samples[static_cast<std::size_t>(start + i)] =
                0.5F * std::exp(-time / 80.0F) * std::sin(0.2F * time);
        }
    }
    return audio;
}

bool is_plain_name(const std::string& name) {
    return !name.empty() &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

/// The environment, with which Python does not hold its answers back.
std::vector<std::string> unbuffered_environment() {
    std::vector<std::string> variables = {"PYTHONUNBUFFERED=1"};
    for (char** variable = environ; *variable != nullptr; ++variable) {
        if (!std::string_view(*variable).starts_with("PYTHONUNBUFFERED=")) variables.emplace_back(*variable);
    }
    return variables;
}

std::string how_it_ended(int status) {
    if (WIFSIGNALED(status)) return "it was killed by signal " + std::to_string(WTERMSIG(status));
    return "it ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

MeasureCommand::MeasureCommand(std::string command) : command_(std::move(command)) {
    std::string name = (fs::temp_directory_path() / "musicsteer-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
        throw OutputError(name + ": cannot be made: " + std::strerror(errno));
    folder_ = name;
    try {
        start();
        learn_names();
    } catch (...) {
        stop();
        throw;
    }
}

MeasureCommand::~MeasureCommand() {
    stop();
}

void MeasureCommand::start() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        fail(std::string("cannot be started: ") + std::strerror(errno));
    socket_ = ends[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    // A group of its own: Ctrl-C is for us, and what it started ends with it.
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> variables = unbuffered_environment();
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string shell = "sh", flag = "-c";
    std::array<char*, 4> arguments = {shell.data(), flag.data(), command_.data(), nullptr};
    const int error =
        ::posix_spawn(&process_, "/bin/sh", &actions, &attributes, arguments.data(), environment.data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) {
        process_ = -1;
        fail(std::string("cannot be started: ") + std::strerror(error));
    }
}

void MeasureCommand::stop() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
    if (socket_ >= 0) {
        ::shutdown(socket_, SHUT_WR);  // it has read everything: time to end
        wait_for_end();
        ::close(socket_);
        socket_ = -1;
    }
    for (const int signal : {SIGTERM, SIGKILL}) {
        if (process_ <= 0) return;
        ::kill(-process_, signal);
        wait_for_end();
    }
}

std::optional<int> MeasureCommand::wait_for_end() {
    for (int waited_ms = 0; process_ > 0 && waited_ms < kPatience_ms; waited_ms += kPause_ms) {
        int status = 0;
        if (!status_ && ::waitpid(process_, &status, WNOHANG) != 0) status_ = status;
        if (status_ && ::kill(-process_, 0) != 0) {
            process_ = -1;
        } else {
            ::poll(nullptr, 0, kPause_ms);
        }
    }
    return status_;
}

void MeasureCommand::fail(const std::string& what) {
    throw MeasureCommandError("--measure-command " + in_quotes(command_) + ": " + what);
}

std::string MeasureCommand::answer_to(const std::string& path) {
    if (path.find('\n') != std::string::npos)
        throw InputError(in_quotes(path) + ": --measure-command takes no file names with a line break");
    const auto fail_by_end = [&] {
        ::shutdown(socket_, SHUT_RDWR);
        const std::optional<int> status = wait_for_end();
        fail("no answer for " + path + ": " + (status ? how_it_ended(*status) : "it closed its output"));
    };
    const std::string line = path + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t count = ::send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail_by_end();
        sent += static_cast<std::size_t>(count);
    }
    std::size_t end = 0;
    while ((end = unread_.find('\n')) == std::string::npos) {
        std::array<char, 4096> bytes{};
        const ssize_t count = ::read(socket_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail_by_end();
        unread_.append(bytes.data(), static_cast<std::size_t>(count));
        if (unread_.size() > kLongestAnswer)
            fail("its answer for " + path + " is longer than " + std::to_string(kLongestAnswer) + " bytes");
    }
    std::string answer = unread_.substr(0, end);
    unread_.erase(0, end + 1);
    if (!unread_.empty())
        fail("expected one line for " + path + ", found another behind it: " + in_quotes(unread_));
    return answer;
}

void MeasureCommand::learn_names() {
    const OwnMeasures found = measure(ticks(), SampleFormat::kPcm16);
    if (found.empty()) fail("it measures nothing: its answer is an empty object");
    const std::vector<std::string> columns = table_columns();
    for (const auto& [name, value] : found) {
        if (!is_plain_name(name))
            fail("the name of a measure may have a-z, 0-9 and _ only, found " + in_quotes(name));
        const bool is_column = std::find(columns.begin(), columns.end(), name) != columns.end();
        if (is_column || name == "tempo_prior" || is_measure_name(name))
            fail("the name " + in_quotes(name) + " is taken: rename the measure");
        names_.push_back(name);
    }
}

OwnMeasures MeasureCommand::measure(const fs::path& file) {
    const std::string answer = answer_to(file.string());
    const json object = json::parse(answer, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
        fail("expected a JSON object of numbers or null for " + file.string() + ", found " +
             in_quotes(answer) + " (NaN is not JSON)");
    }
    OwnMeasures found;
    for (const auto& [name, value] : object.items()) {
        if (!value.is_number() && !value.is_null())
            fail("expected a number or null for " + name + " of " + file.string() + ", found " +
                 in_quotes(value.dump()));
        found[name] = value.is_null() ? std::nullopt : std::optional(value.get<double>());
    }
    const auto is_known = [&](const std::string& name) { return found.contains(name); };
    const bool is_first = names_.empty();
    if (!is_first && (found.size() != names_.size() || !std::all_of(names_.begin(), names_.end(), is_known)))
        fail("its answer for " + file.string() +
             " names other measures than its first answer; give null where there is no value");
    return found;
}

OwnMeasures MeasureCommand::measure(const Audio& audio, SampleFormat format) {
    const fs::path file = folder_ / "clip.wav";
    write_wav(file, audio, format, Overwrite::kAllow);
    return measure(file);
}

}  // namespace musicsteer
