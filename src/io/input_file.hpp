#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace musicsteer {

/// A file open for reading. Every failure is an InputError with the path and the system's reason.
class InputFile {
  public:
    /// @throws InputError if it does not exist, is a folder, or may not be read.
    explicit InputFile(std::filesystem::path path);
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    const std::filesystem::path& path() const { return path_; }
    /// Size in bytes when it was opened; 0 for pipes and devices.
    std::uint64_t size() const { return size_; }
    int descriptor() const { return fd_; }
    /// Fills the buffer as far as the file reaches; a smaller result means that the file ends there. @throws
    /// InputError
    std::size_t read(std::span<char> buffer) const;
    /// Fills the whole buffer from `offset`. @throws InputError if the file ends before that.
    void read_at(std::uint64_t offset, std::span<char> buffer) const;

  private:
    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    int fd_ = -1;
};

/// A whole small file, such as JSON that people write.
/// @throws InputError as above, or if it is longer than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes = 64'000'000);

}  // namespace musicsteer
