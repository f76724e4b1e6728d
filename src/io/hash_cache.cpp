#include "io/hash_cache.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "io/atomic_file.hpp"
#include "io/input_file.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::optional<fs::path> cache_folder() {
    // The XDG base directory specification: a relative path is ignored.
    if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && fs::path(xdg).is_absolute()) {
        return fs::path(xdg) / "musicsteer";
    }
    if (const char* home = std::getenv("HOME"); home != nullptr && fs::path(home).is_absolute()) {
        return fs::path(home) / ".cache" / "musicsteer";
    }
    return std::nullopt;
}

// Identifies the file that a remembered hash belongs to.
json key_of(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        throw InputError(path.string() + ": cannot be read: " + std::generic_category().message(errno));
    }
    const std::int64_t mtime_ns =
        std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    return {{"path", sha256_of(path.string())}, {"bytes", status.st_size}, {"mtime_ns", mtime_ns}};
}

std::optional<std::string> remembered_hash(const fs::path& entry, const json& key) {
    try {
        const json stored = json::parse(read_text_file(entry));
        if (stored.at("key") != key) return std::nullopt;
        return stored.at("sha256").get<std::string>();
    } catch (const std::exception&) {  // no entry, or a damaged one
        return std::nullopt;
    }
}

void remember_hash(const fs::path& entry, const json& key, const std::string& sha256) {
    try {
        write_file_atomically(entry, json{{"key", key}, {"sha256", sha256}}.dump() + "\n", Overwrite::kAllow);
    } catch (const OutputError&) {  // without the cache, only time is lost
    }
}

}  // namespace

std::string cached_sha256_of_file(const fs::path& path) {
    const std::optional<fs::path> folder = cache_folder();
    std::error_code error;
    const fs::path absolute = fs::canonical(path, error);
    if (!folder || error) return sha256_of_file(path);
    // The key is computed before the file is read, so a file that changes meanwhile is hashed again next
    // time.
    const json key = key_of(absolute);
    const fs::path entry = *folder / ("sha256-" + key.at("path").get<std::string>().substr(0, 32) + ".json");
    if (auto sha256 = remembered_hash(entry, key)) return *sha256;
    std::string sha256 = sha256_of_file(absolute);
    remember_hash(entry, key, sha256);
    return sha256;
}

}  // namespace musicsteer
