#pragma once

#include <filesystem>

namespace musicsteer {

/// Keeps two processes from working on one output file: both would compute to the end, and one for nothing.
/// Holds flock on ".NAME.lock" beside it, which goes with the lock; of a kill an empty file may stay, which
/// holds up nobody.
class OutputLock {
  public:
    /// Makes missing parent folders. @throws OutputError if another process holds it
    explicit OutputLock(const std::filesystem::path& target);
    ~OutputLock();
    OutputLock(const OutputLock&) = delete;
    OutputLock& operator=(const OutputLock&) = delete;

  private:
    std::filesystem::path file_;
    int fd_ = -1;
};

}  // namespace musicsteer
