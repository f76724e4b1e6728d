#pragma once

#include <filesystem>

namespace musicsteer {

/// A lock that the system lets go when the process ends, however it ends (flock).
class FolderLock {
  public:
    enum class Kind { kWriter, kReader };

    /// A writer makes the lock file; for a reader without one there is nothing to wait for.
    /// @throws OutputError if another process holds it, or it cannot be made
    FolderLock(const std::filesystem::path& lock_file, Kind kind);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int fd_ = -1;
};

}  // namespace musicsteer
