#pragma once

#include <string>

namespace musicsteer {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

/// Log lines go to stderr as "warning: text", in colour only on a terminal (never with NO_COLOR set). The
/// level starts at kInfo. spdlog is behind this header, since its fmt clashes with LibTorch's
/// (docs/architecture.md).
void set_log_level(LogLevel level);
void log_debug(const std::string& message);
void log_info(const std::string& message);
void log_warn(const std::string& message);

}  // namespace musicsteer
