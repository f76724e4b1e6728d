#include "io/record_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

[[noreturn]] void fail_to_write(const std::filesystem::path& path, int error) {
    throw OutputError(path.string() + ": cannot be written: " + std::generic_category().message(error));
}

}  // namespace

std::size_t for_each_whole_line(const std::filesystem::path& path,
                                const std::function<void(std::string line)>& visit) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return 0;
    const InputFile file(path);
    std::string block(kBlockBytes, '\0');
    std::string unfinished;
    std::size_t whole = 0;
    std::size_t count = 0;
    do {
        count = file.read(block);
        // Records are JSON and contain no NUL; a power cut can leave a block of NULs.
        const std::string_view text = std::string_view(block).substr(0, count);
        std::string_view rest = text.substr(0, text.find('\0'));
        const bool cut_off = rest.size() < text.size();
        for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
            unfinished.append(rest.substr(0, end));
            whole += unfinished.size() + 1;
            visit(std::exchange(unfinished, ""));
            rest.remove_prefix(end + 1);
        }
        if (cut_off) break;
        unfinished.append(rest);
    } while (count == block.size());
    return whole;
}

std::vector<std::string> read_whole_lines(const std::filesystem::path& path) {
    std::vector<std::string> lines;
    for_each_whole_line(path, [&](std::string line) { lines.push_back(std::move(line)); });
    return lines;
}

RecordLog::RecordLog(std::filesystem::path path, Sync sync) : path_(std::move(path)), sync_(sync) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd_ < 0) fail_to_write(path_, errno);
    const std::size_t end = for_each_whole_line(path_, [](const std::string&) {});
    const off_t size = ::lseek(fd_, 0, SEEK_END);
    if (size < 0) fail_to_write(path_, errno);
    repaired_bytes_ = static_cast<std::size_t>(size) - end;
    if (repaired_bytes_ == 0) return;
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
    if (before >= 0) (void)!::ftruncate(fd_, before);  // if it fails, the next start repairs the end
    fail_to_write(path_, error);
}

}  // namespace musicsteer
