#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace musicsteer {

/// Lower-case hexadecimal SHA-256 (OpenSSL's EVP).
std::string sha256_of(std::string_view bytes);
/// @throws InputError if the file can't be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace musicsteer
