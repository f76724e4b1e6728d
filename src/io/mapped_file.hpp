#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace musicsteer {

/// From now on, if a mapped file is truncated, the program ends with a message that names it and exit code 1,
/// instead of the system's "Bus error". Sets a signal handler; call it from main.
void report_changed_mappings();

/// A whole file mapped into memory; pages are read when they are used. Writing to the bytes does not change
/// the file.
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
