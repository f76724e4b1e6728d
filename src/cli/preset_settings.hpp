#pragma once

#include <optional>
#include <string>
#include <vector>

#include "steer_options.hpp"

namespace musicsteer::cli {

/// The steering of a preset, as if it had been typed. Warns about an alpha outside the preset's range.
/// @param alpha  in place of the preset's own
/// @throws InputError for an unusable preset; @throws UsageError for an alpha of a preset with several
/// vectors
std::vector<SteerSetting> preset_settings(const std::string& path, std::optional<double> alpha);

/// The steering of a steering file, the same way. @throws InputError
std::vector<SteerSetting> steering_file_settings(const std::string& path);

}  // namespace musicsteer::cli
