#pragma once

#include <filesystem>

namespace musicsteer {

/// Checks that a file or folder to be written is neither a model bundle nor in one: only the exporter writes
/// there. @throws OutputError
void require_outside_bundle(const std::filesystem::path& path);

}  // namespace musicsteer
