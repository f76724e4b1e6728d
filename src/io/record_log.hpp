#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// A file to which whole lines are appended. A last line left unfinished by a kill or a full disk is cut off,
/// by the writer if it is still alive, or when the file is opened again.
class RecordLog {
  public:
    enum class Sync { kEachLine, kNever };

    /// Opens or creates the file, and repairs its end. @throws OutputError
    RecordLog(std::filesystem::path path, Sync sync);
    ~RecordLog();
    RecordLog(const RecordLog&) = delete;
    RecordLog& operator=(const RecordLog&) = delete;

    /// Bytes that the repair cut off.
    std::size_t repaired_bytes() const { return repaired_bytes_; }
    /// Writes the line and its newline at once. @throws OutputError; the file is then unchanged.
    void append(std::string_view line);

  private:
    std::filesystem::path path_;
    Sync sync_;
    int fd_ = -1;
    std::size_t repaired_bytes_ = 0;
};

/// Reads the whole lines of such a file without keeping them; an unfinished last line is skipped. A missing
/// file has none. @return the bytes of those lines
std::size_t for_each_whole_line(const std::filesystem::path& path,
                                const std::function<void(std::string line)>& visit);

/// All of them at once, for files that stay small.
std::vector<std::string> read_whole_lines(const std::filesystem::path& path);

}  // namespace musicsteer
