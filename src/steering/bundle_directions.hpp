#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace musicsteer {

/// The steering file of a bundle's direction, such as `--steer tempo` names: `directions/NAME.json`.
std::filesystem::path direction_file(const std::filesystem::path& bundle, const std::string& name);

/// The names of a bundle's directions, sorted.
std::vector<std::string> direction_names(const std::filesystem::path& bundle);

}  // namespace musicsteer
