#include "base/logging.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace musicsteer {
namespace {

// https://no-color.org: any non-empty value asks for plain text.
bool colour_refused() {
    const char* value = std::getenv("NO_COLOR");
    return value != nullptr && *value != '\0';
}

spdlog::logger& logger() {
    static const std::unique_ptr<spdlog::logger> instance = [] {
        const auto mode = colour_refused() ? spdlog::color_mode::never : spdlog::color_mode::automatic;
        auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode);
        auto made = std::make_unique<spdlog::logger>("musicsteer", std::move(sink));
        made->set_pattern("%^%l%$: %v");
        made->set_level(spdlog::level::info);
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarn:
            return spdlog::level::warn;
        case LogLevel::kError:
            return spdlog::level::err;
        case LogLevel::kOff:
            break;
    }
    return spdlog::level::off;
}

bool is_quiet = false;
void (*before_log)() = nullptr;

// The overload without a format, so that braces in a message are plain text.
void log(spdlog::level::level_enum level, const std::string& message) {
    if (before_log != nullptr && logger().should_log(level)) before_log();
    logger().log(level, spdlog::string_view_t(message));
}

}  // namespace

void set_log_level(LogLevel level) {
    logger().set_level(spdlog_level(is_quiet ? std::max(level, LogLevel::kWarn) : level));
}
void set_quiet() {
    is_quiet = true;
    set_log_level(LogLevel::kWarn);
}
bool is_logged(LogLevel level) {
    return logger().should_log(spdlog_level(level));
}
void set_before_log(void (*call)()) {
    before_log = call;
}
void log_debug(const std::string& message) {
    log(spdlog::level::debug, message);
}
void log_info(const std::string& message) {
    log(spdlog::level::info, message);
}
void log_warn(const std::string& message) {
    log(spdlog::level::warn, message);
}

}  // namespace musicsteer
