#include "progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace musicsteer::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{200};
constexpr const char* kClearLine = "\r\033[K";

std::string format_duration(double seconds) {
    char text[32];
    const auto whole = static_cast<long>(seconds + 0.5);
    if (whole >= 3600) {
        std::snprintf(text, sizeof text, "%ld h %02ld min", whole / 3600, whole / 60 % 60);
    } else if (whole >= 60) {
        std::snprintf(text, sizeof text, "%ld min %02ld s", whole / 60, whole % 60);
    } else {
        std::snprintf(text, sizeof text, "%ld s", whole);
    }
    return text;
}

}  // namespace

Progress::Progress(std::string label) : label_(std::move(label)), on_terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
    if (on_terminal_ && last_shown_ != Clock::time_point{}) std::cerr << kClearLine << std::flush;
}

void Progress::update(std::int64_t done, std::int64_t total) {
    if (!on_terminal_) return;
    if (first_done_ < 0) first_done_ = done;
    const auto now = Clock::now();
    if (now - last_shown_ < kInterval) return;
    last_shown_ = now;
    std::cerr << kClearLine << label_ << ": " << 100 * done / total << " %";
    const double elapsed_s = std::chrono::duration<double>(now - start_).count();
    if (done > first_done_ && elapsed_s > 1.0) {
        const double rate = static_cast<double>(done - first_done_) / elapsed_s;
        std::cerr << ", " << format_duration(static_cast<double>(total - done) / rate) << " left";
    }
    std::cerr << std::flush;
}

}  // namespace musicsteer::cli
