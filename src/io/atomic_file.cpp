#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "io/bundle_guard.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const fs::path& path, const std::string& what, int error) {
    throw OutputError(path.string() + ": " + what + ": " + std::generic_category().message(error));
}

[[noreturn]] void refuse_existing(const fs::path& path) {
    throw OutputError(path.string() + ": exists already; use --force to replace it, or choose another name");
}

fs::path folder_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// Devices and pipes (/dev/stdout, /dev/null) are written to directly: a rename would replace them.
bool is_stream(const fs::path& path) {
    std::error_code ignored;
    const fs::file_status status = fs::status(path, ignored);
    return fs::is_character_file(status) || fs::is_fifo(status);
}

void check_target(const fs::path& path, Overwrite overwrite) {
    if (!path.has_filename()) throw OutputError(in_quotes(path.string()) + ": expected the name of a file");
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) return;
    const fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status))
        throw OutputError(path.string() + ": expected the name of a file, found a folder");
    if (is_stream(path)) return;
    if (fs::exists(status) && !fs::is_regular_file(status)) {
        throw OutputError(path.string() + ": expected the name of a file, found something else");
    }
    if (overwrite == Overwrite::kRefuse) refuse_existing(path);
}

fs::path temporary_name(const fs::path& target) {
    constexpr std::size_t kLongestKept = 180;  // file systems take 255 bytes
    static constexpr char kDigits[] = "0123456789abcdef";
    std::random_device random;
    std::string name =
        "." + target.filename().string().substr(0, kLongestKept) + ".tmp-" + std::to_string(::getpid()) + "-";
    for (int i = 0; i < 12; ++i) name += kDigits[random() & 0xF];
    return folder_of(target) / name;
}

// Returns 0 or errno.
int rename_replacing(const fs::path& from, const fs::path& to) {
    return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

// Renames without replacing; returns 0 or errno. Not every file system has RENAME_NOREPLACE or links.
int rename_no_replace(const fs::path& from, const fs::path& to) {
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (::link(from.c_str(), to.c_str()) == 0) {
        ::unlink(from.c_str());
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(to, ignored))) return EEXIST;
    return rename_replacing(from, to);
}

// Makes the new name survive a power cut. The file is complete, so a folder that cannot be synced is not an
// error.
void sync_folder(const fs::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    ::fsync(fd);
    ::close(fd);
}

}  // namespace

void check_writable(const fs::path& path, Overwrite overwrite, std::span<const std::string> inputs) {
    if (is_stream(path)) return;
    for (const std::string& input : inputs) {
        std::error_code ignored;
        if (fs::equivalent(path, input, ignored)) {
            throw OutputError(path.string() +
                              ": would replace a file that this command reads; choose another name");
        }
    }
    require_outside_bundle(folder_of(path));
    check_target(path, overwrite);
    fs::path folder = folder_of(path);
    std::error_code error;
    while (!fs::exists(folder, error) && !error && folder.has_relative_path()) folder = folder_of(folder);
    if (error) fail(path, "cannot be written", error.value());
    if (!fs::is_directory(folder, error)) fail(path, "cannot be written", ENOTDIR);
    if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
        fail(path, "cannot be written into folder " + folder.string(), errno);
    }
}

AtomicFile::AtomicFile(fs::path target, Overwrite overwrite)
    : target_(std::move(target)), overwrite_(overwrite) {
    check_target(target_, overwrite_);
    if (is_stream(target_)) {
        temporary_ = target_;
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd_ < 0) fail(target_, "cannot be written", errno);
        return;
    }
    std::error_code error;
    fs::create_directories(folder_of(target_), error);
    if (error) fail(target_, "its folder cannot be created", error.value());
    constexpr int kTries = 8;
    for (int i = 0; i < kTries && fd_ < 0; ++i) {
        temporary_ = temporary_name(target_);
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd_ < 0 && errno != EEXIST) break;
    }
    if (fd_ < 0) fail(target_, "cannot be written", errno);
}

AtomicFile::~AtomicFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!committed_ && temporary_ != target_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
        if (count >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno != EINTR) {
            fail(target_, "cannot be written", errno);
        }
    }
}

void AtomicFile::commit() {
    const bool stream = temporary_ == target_;
    const bool synced = ::fsync(fd_) == 0 || (stream && (errno == EINVAL || errno == EROFS));
    if (!synced) fail(target_, "cannot be written", errno);
    if (::close(std::exchange(fd_, -1)) != 0) fail(target_, "cannot be written", errno);
    if (!stream) {
        const int error = overwrite_ == Overwrite::kRefuse ? rename_no_replace(temporary_, target_)
                                                           : rename_replacing(temporary_, target_);
        if (error == EEXIST) refuse_existing(target_);
        if (error != 0) fail(target_, "cannot be written", error);
        sync_folder(folder_of(target_));
    }
    committed_ = true;
}

void write_file_atomically(const fs::path& path, std::string_view bytes, Overwrite overwrite) {
    AtomicFile file(path, overwrite);
    file.write(bytes);
    file.commit();
}

}  // namespace musicsteer
