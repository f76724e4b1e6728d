#pragma once

#include <filesystem>
#include <string>

namespace musicsteer {

/// SHA-256 of a file, computed once for each (absolute path, size, time of modification in ns) and remembered
/// in the user's cache folder: $XDG_CACHE_HOME/musicsteer, else ~/.cache/musicsteer. If that cannot be read
/// or written, the file is hashed again. A change that keeps size and time is not noticed.
/// @throws InputError if the file itself can't be read.
std::string cached_sha256_of_file(const std::filesystem::path& path);

}  // namespace musicsteer
