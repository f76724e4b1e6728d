#pragma once

#include <filesystem>

namespace musicsteer {

/// Keeps two processes from working on the same output file, of which one would work in vain. Holds flock on
/// ".NAME.lock" beside it and removes that file at the end. A kill may leave the empty file, which blocks
/// nobody.
class OutputLock {
  public:
    /// Creates missing parent folders. @throws OutputError if another process holds it
    explicit OutputLock(const std::filesystem::path& target);
    ~OutputLock();
    OutputLock(const OutputLock&) = delete;
    OutputLock& operator=(const OutputLock&) = delete;

  private:
    std::filesystem::path file_;
    int fd_ = -1;
};

}  // namespace musicsteer
