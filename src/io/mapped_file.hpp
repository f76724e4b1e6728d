#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace musicsteer {

/// From now on, a file that is made shorter while it is mapped ends the program with a sentence that names
/// it, and exit code 1, in place of the system's "Bus error". For a program's main: it sets a signal handler.
void report_changed_mappings();

/// A whole file in memory, its pages read when they are used. Writing to the bytes does not change the file.
class MappedFile {
  public:
    /// @throws InputError if it cannot be opened, is empty or cannot be mapped.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<char> bytes() const { return bytes_; }

  private:
    std::span<char> bytes_;
};

}  // namespace musicsteer
