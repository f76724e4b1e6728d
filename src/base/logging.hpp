#pragma once

#include <string>

namespace musicsteer {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

/// Log lines go to stderr as "warning: text", in colour only on a terminal (never with NO_COLOR set). The
/// level starts at kInfo. spdlog is behind this header, since its fmt clashes with LibTorch's
/// (docs/architecture.md).
void set_log_level(LogLevel level);
/// From now on, only warnings and errors are logged, whatever set_log_level says.
void set_quiet();
bool is_logged(LogLevel level);
/// Called before each line is written, to clear what else is on the terminal.
void set_before_log(void (*call)());
void log_debug(const std::string& message);
void log_info(const std::string& message);
void log_warn(const std::string& message);

}  // namespace musicsteer
