#pragma once

#include <filesystem>
#include <vector>

#include "musicsteer/setting.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {

/// Resolves a typed setting: its file is a vector file, a steering file, or a name that the bundle knows
/// (`steering/NAME.json` in its folder); an existing path takes precedence. Typed settings replace those of a
/// steering file with one vector.
/// @throws InputError for an unusable steering file; @throws UsageError for settings given with one of
/// several vectors, and for one with sections
std::vector<SteeringSetting> expand_steering(const SteeringSetting& typed,
                                             const std::filesystem::path& bundle);

/// The same for a steering file that may have sections, with the file's sections.
struct SectionedSteering {
    std::vector<SteeringSetting> settings;
    std::vector<SteeringSection> sections;
};
SectionedSteering expand_with_sections(const SteeringSetting& typed, const std::filesystem::path& bundle);

}  // namespace musicsteer
