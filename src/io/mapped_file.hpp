#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace musicsteer {

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
