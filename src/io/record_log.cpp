#include "io/record_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/errors.hpp"
#include "io/input_file.hpp"

namespace musicsteer {
namespace {

constexpr std::uint64_t kMaxBytes = 8'000'000'000;

[[noreturn]] void fail_to_write(const std::filesystem::path& path, int error) {
    throw OutputError(path.string() + ": cannot be written: " + std::generic_category().message(error));
}

/// A record is JSON, which holds no NUL; a power cut can leave a block of them.
std::size_t whole_lines_end(std::string_view text) {
    const std::size_t nul = text.find('\0');
    const std::size_t last = text.substr(0, nul).rfind('\n');
    return last == std::string_view::npos ? 0 : last + 1;
}

}  // namespace

std::vector<std::string> read_whole_lines(const std::filesystem::path& path) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return {};
    const std::string text = read_text_file(path, kMaxBytes);
    std::string_view rest = std::string_view(text).substr(0, whole_lines_end(text));
    std::vector<std::string> lines;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        lines.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 1);
    }
    return lines;
}

RecordLog::RecordLog(std::filesystem::path path, Sync sync) : path_(std::move(path)), sync_(sync) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd_ < 0) fail_to_write(path_, errno);
    const std::string text = read_text_file(path_, kMaxBytes);
    const std::size_t end = whole_lines_end(text);
    if (end == text.size()) return;
    repaired_bytes_ = text.size() - end;
    if (::ftruncate(fd_, static_cast<off_t>(end)) != 0 || ::fsync(fd_) != 0) {
        const int error = errno;
        ::close(fd_);
        fail_to_write(path_, error);
    }
}

RecordLog::~RecordLog() {
    ::close(fd_);
}

void RecordLog::append(std::string_view line) {
    const off_t before = ::lseek(fd_, 0, SEEK_END);
    const std::string text = std::string(line) + "\n";
    std::string_view rest = text;
    int error = before < 0 ? errno : 0;
    while (error == 0 && !rest.empty()) {
        const ssize_t count = ::write(fd_, rest.data(), rest.size());
        if (count >= 0) {
            rest.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    if (error == 0 && sync_ == Sync::kEachLine && ::fsync(fd_) != 0) error = errno;
    if (error == 0) return;
    if (before >= 0 && ::ftruncate(fd_, before) != 0) error = errno;
    fail_to_write(path_, error);
}

}  // namespace musicsteer
