#pragma once

#include <filesystem>

namespace musicsteer {

/// A lock (flock) that the system releases when the process ends, however it ends.
class FolderLock {
  public:
    enum class Kind { kWriter, kReader };

    /// A writer creates the lock file. A reader that finds none does not wait.
    /// @throws OutputError if another process holds it, or it cannot be created
    FolderLock(const std::filesystem::path& lock_file, Kind kind);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int fd_ = -1;
};

}  // namespace musicsteer
