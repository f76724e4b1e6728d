#pragma once

#include <filesystem>
#include <vector>

namespace musicsteer {

/// Cores that this process may keep busy: threads of one core count once, and so much as a control group
/// grants counts at most. At least 1.
int usable_cores();

/// @param processors  logical ones that the process may run on
/// @param root        where /sys is, for tests
int count_cores(const std::vector<int>& processors, const std::filesystem::path& root = "/");

}  // namespace musicsteer
