#include "progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "base/logging.hpp"

namespace musicsteer::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{200};
constexpr std::chrono::seconds kLeastGap{1};  // between lines that stay
constexpr std::chrono::seconds kMostGap{30};
constexpr double kStep = 0.1;
constexpr const char* kClearLine = "\r\033[K";

bool is_line_shown = false;

/// Bypasses std::cerr, whose output clears the line.
void write_to_stderr(std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(STDERR_FILENO, text.data(), text.size());
        if (count <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
}

class ClearingBuffer : public std::streambuf {
  public:
    explicit ClearingBuffer(std::streambuf* target) : target_(target) {}

  protected:
    int_type overflow(int_type character) override {
        if (traits_type::eq_int_type(character, traits_type::eof())) return traits_type::not_eof(character);
        clear_progress();
        return target_->sputc(traits_type::to_char_type(character));
    }
    std::streamsize xsputn(const char* text, std::streamsize count) override {
        clear_progress();
        return target_->sputn(text, count);
    }
    int sync() override { return target_->pubsync(); }

  private:
    std::streambuf* target_;
};

}  // namespace

void clear_progress() {
    if (!is_line_shown) return;
    is_line_shown = false;
    write_to_stderr(kClearLine);
}

ClearsProgress::ClearsProgress(std::ostream& stream)
    : stream_(stream), target_(stream.rdbuf()), buffer_(std::make_unique<ClearingBuffer>(stream.rdbuf())) {
    stream_.rdbuf(buffer_.get());
}

ClearsProgress::~ClearsProgress() {
    stream_.flush();
    stream_.rdbuf(target_);
}

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

Progress::Progress(std::string label)
    : label_(std::move(label)),
      is_wanted_(is_logged(LogLevel::kInfo)),
      on_terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
    clear_progress();
}

/// Whether to show progress now: not more often than is useful on a terminal or in a log.
bool Progress::is_due(double done, double total) {
    if (!is_wanted_) return false;
    if (first_done_ < 0.0) {
        first_done_ = done;
        shown_share_ = done / total;
    }
    const auto now = Clock::now();
    const auto gap = now - last_shown_;
    const double share = done / total;
    const bool is_due = on_terminal_ ? gap >= kInterval
                                     : gap >= kMostGap || (gap >= kLeastGap && share - shown_share_ >= kStep);
    if (!is_due) return false;
    last_shown_ = now;
    shown_share_ = share;
    return true;
}

/// Rate of this run; 0 while unknown.
double Progress::rate(double done) const {
    const double elapsed_s = std::chrono::duration<double>(Clock::now() - start_).count();
    return done > first_done_ && elapsed_s > 1.0 ? (done - first_done_) / elapsed_s : 0.0;
}

void Progress::show(double done, double total, const std::string& count) const {
    std::string line = label_ + ": " + std::to_string(static_cast<int>(100.0 * done / total)) + " %" + count;
    if (const double per_second = rate(done); per_second > 0.0)
        line += ", " + format_duration((total - done) / per_second) + " left";
    is_line_shown = on_terminal_;
    write_to_stderr(on_terminal_ ? kClearLine + line : line + "\n");
}

void Progress::update(std::int64_t done, std::int64_t total) {
    const auto so_far = static_cast<double>(done);
    if (is_due(so_far, static_cast<double>(total))) show(so_far, static_cast<double>(total), "");
}

void Progress::update_units(double done, std::int64_t total, const std::string& unit) {
    if (!is_due(done, static_cast<double>(total))) return;
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
