#include "io/output_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Whether the open file still has that name: its last holder may have removed it.
bool has_name(int fd, const std::filesystem::path& file) {
    struct stat opened {
    }, named{};
    return ::fstat(fd, &opened) == 0 && ::stat(file.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

}  // namespace

OutputLock::OutputLock(const std::filesystem::path& target)
    : file_(target.parent_path() / ("." + target.filename().string() + ".lock")) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(target, error) && std::filesystem::exists(target, error))
        return;  // /dev/null and the like need no lock
    if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), error);
    for (;;) {
        fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd_ < 0) {
            throw OutputError(target.string() +
                              ": cannot be written: " + std::generic_category().message(errno));
        }
        if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
            const int reason = errno;
            ::close(fd_);
            fd_ = -1;
            throw OutputError(target.string() +
                              (reason == EWOULDBLOCK
                                   ? ": another process is writing it; wait for it, or choose another name"
                                   : ": cannot be locked: " + std::generic_category().message(reason)));
        }
        if (has_name(fd_, file_)) return;
        ::close(fd_);
    }
}

OutputLock::~OutputLock() {
    if (fd_ < 0) return;
    ::unlink(file_.c_str());
    ::close(fd_);
}

}  // namespace musicsteer
