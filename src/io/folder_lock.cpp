#include "io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "musicsteer/errors.hpp"

namespace musicsteer {

FolderLock::FolderLock(const std::filesystem::path& lock_file, Kind kind) {
    const bool writer = kind == Kind::kWriter;
    fd_ = ::open(lock_file.c_str(), (writer ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);
    if (fd_ < 0 && !writer) return;
    const std::string folder = lock_file.parent_path().string();
    if (fd_ < 0) {
        throw OutputError(folder + ": cannot be written: " + std::generic_category().message(errno));
    }
    if (::flock(fd_, (writer ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return;
    const int error = errno;
    ::close(fd_);
    if (error == EWOULDBLOCK) {
        throw OutputError(folder +
                          ": another process is using this folder; wait for it, or give each a folder "
                          "of its own (--shard) and join them with --merge");
    }
    throw OutputError(folder + ": cannot be locked: " + std::generic_category().message(error));
}

FolderLock::~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace musicsteer
