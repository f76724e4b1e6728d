#include "io/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
    const std::string reason = std::generic_category().message(error);
    throw InputError(path.string() + ": cannot be read: " + reason);
}

}  // namespace

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) fail(path_, errno);
    struct stat status {};
    const int error = ::fstat(fd_, &status) == 0 ? 0 : errno;
    if (error != 0 || S_ISDIR(status.st_mode)) {
        ::close(fd_);
        if (error != 0) fail(path_, error);
        throw InputError(path_.string() + ": expected a file, found a folder");
    }
    if (S_ISREG(status.st_mode)) size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
    ::close(fd_);
}

std::size_t InputFile::read(std::span<char> buffer) const {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
        const ssize_t count = ::read(fd_, buffer.data() + filled, buffer.size() - filled);
        if (count == 0) break;
        if (count > 0) {
            filled += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            fail(path_, errno);
        }
    }
    return filled;
}

void InputFile::read_at(std::uint64_t offset, std::span<char> buffer) const {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
        const ssize_t count =
            ::pread(fd_, buffer.data() + filled, buffer.size() - filled, static_cast<off_t>(offset + filled));
        if (count == 0) throw InputError(path_.string() + ": the file became shorter while it was read");
        if (count > 0) {
            filled += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            fail(path_, errno);
        }
    }
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
    constexpr std::size_t kBlock = std::size_t{1} << 16;
    const InputFile file(path);
    std::string text;
    std::size_t count = 0;
    do {
        const std::size_t before = text.size();
        text.resize(before + kBlock);
        count = file.read(std::span(text).subspan(before));
        text.resize(before + count);
        if (text.size() > max_bytes) {
            throw InputError(path.string() + ": longer than the " + std::to_string(max_bytes) +
                             " bytes that such a file may have");
        }
    } while (count == kBlock);
    return text;
}

}  // namespace musicsteer
