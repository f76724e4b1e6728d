#include "progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace musicsteer::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{200};
constexpr const char* kClearLine = "\r\033[K";

}  // namespace

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

Progress::Progress(std::string label) : label_(std::move(label)), on_terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
    if (on_terminal_ && last_shown_ != Clock::time_point{}) std::cerr << kClearLine << std::flush;
}

/// Whether to show something now; not more often than eyes can follow.
bool Progress::is_due(double done) {
    if (!on_terminal_) return false;
    if (first_done_ < 0.0) first_done_ = done;
    const auto now = Clock::now();
    if (now - last_shown_ < kInterval) return false;
    last_shown_ = now;
    return true;
}

/// What is done a second in this run; 0 while that cannot be told.
double Progress::rate(double done) const {
    const double elapsed_s = std::chrono::duration<double>(Clock::now() - start_).count();
    return done > first_done_ && elapsed_s > 1.0 ? (done - first_done_) / elapsed_s : 0.0;
}

void Progress::show(double done, double total, const std::string& count) const {
    std::cerr << kClearLine << label_ << ": " << static_cast<int>(100.0 * done / total) << " %" << count;
    if (const double per_second = rate(done); per_second > 0.0)
        std::cerr << ", " << format_duration((total - done) / per_second) << " left";
    std::cerr << std::flush;
}

void Progress::update(std::int64_t done, std::int64_t total) {
    const auto so_far = static_cast<double>(done);
    if (is_due(so_far)) show(so_far, static_cast<double>(total), "");
}

void Progress::update_units(double done, std::int64_t total, const std::string& unit) {
    if (!is_due(done)) return;
    std::string count =
        ", " + std::to_string(static_cast<std::int64_t>(done)) + " of " + std::to_string(total) + " " + unit;
    if (const double per_second = rate(done); per_second > 0.0) {
        char text[32];
        std::snprintf(text, sizeof text, ", %.2g ", per_second);
        count += text + unit + "/s";
    }
    show(done, static_cast<double>(total), count);
}

}  // namespace musicsteer::cli
