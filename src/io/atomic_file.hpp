#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "musicsteer/overwrite.hpp"

namespace musicsteer {

/// Checks, before long work, that `path` can be written: its folder exists (or can be created) and is
/// writable and in no model bundle, and the file does not exist unless it may be replaced.
/// @param inputs  files that the same command reads; they are never replaced. Empty names are ignored
/// @throws OutputError with what to do ("use --force to replace it").
void check_writable(const std::filesystem::path& path, Overwrite overwrite,
                    std::span<const std::string> inputs = {});

/// A file under a temporary name (".NAME.tmp-PID-RANDOM") beside its target; `commit` syncs and renames it.
/// Without commit it is removed. An exception leaves the old file or none; a kill can leave the temporary
/// file. A symbolic link at the target is replaced, not followed. Devices and pipes (/dev/null, /dev/stdout)
/// are written to directly.
class AtomicFile {
  public:
    /// Creates missing parent folders. @throws OutputError
    AtomicFile(std::filesystem::path target, Overwrite overwrite);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    /// The temporary file's path.
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

/// The same in one call, for small files. @throws OutputError
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes, Overwrite overwrite);

}  // namespace musicsteer
