#pragma once

#include <filesystem>
#include <vector>

namespace musicsteer {

/// Physical cores that this process may use, limited by its control group. At least 1.
int usable_cores();

/// @param processors  logical processors that the process may run on
/// @param root        where /sys is, for tests
int count_cores(const std::vector<int>& processors, const std::filesystem::path& root = "/");

}  // namespace musicsteer
