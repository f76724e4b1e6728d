#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "musicsteer/overwrite.hpp"

namespace musicsteer {

/// Checks, before long work, that `path` could be written: its folder exists (or can be made) and is
/// writable, and it does not exist yet unless that is allowed.
/// @param inputs  files that the same command reads, empty names aside: none is replaced, allowed or not
/// @throws OutputError with what to do ("use --force to replace it").
void check_writable(const std::filesystem::path& path, Overwrite overwrite,
                    std::span<const std::string> inputs = {});

/// A file under a temporary name (".NAME.tmp-PID-RANDOM") beside its target; `commit` syncs and renames it.
/// Without commit it is removed: an exception leaves the old file or nothing, and a kill leaves the temporary
/// file at worst. A symbolic link at the target is replaced, not followed. Devices and pipes (/dev/null,
/// /dev/stdout) are written to directly.
class AtomicFile {
  public:
    /// Makes missing parent folders. @throws OutputError
    AtomicFile(std::filesystem::path target, Overwrite overwrite);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    /// Where to write until commit.
    const std::filesystem::path& temporary() const { return temporary_; }
    /// Appends bytes to the temporary file. @throws OutputError (disk full, ...)
    void write(std::string_view bytes);
    /// fsync, rename to the target (never over an existing file under kRefuse), fsync the folder. @throws
    /// OutputError
    void commit();

  private:
    std::filesystem::path target_;
    std::filesystem::path temporary_;
    Overwrite overwrite_;
    int fd_ = -1;
    bool committed_ = false;
};

/// One call for small files. @throws OutputError
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes, Overwrite overwrite);

}  // namespace musicsteer
