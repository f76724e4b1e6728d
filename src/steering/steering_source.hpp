#pragma once

#include <filesystem>
#include <vector>

#include "musicsteer/setting.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {

/// What a setting as it is typed stands for: its file is a vector file, a steering file, or the name of a
/// direction of the bundle (bundle_directions.hpp); an existing path wins. What is typed beside a steering
/// file with one vector takes the place of what the file says.
/// @throws InputError for an unusable steering file or an unknown name; @throws UsageError for settings
/// beside one with several vectors, and for one with sections
std::vector<SteeringSetting> expand_steering(const SteeringSetting& typed,
                                             const std::filesystem::path& bundle);

/// The same for a steering file that may have sections, with the file's sections.
struct SectionedSteering {
    std::vector<SteeringSetting> settings;
    std::vector<SteeringSection> sections;
};
SectionedSteering expand_with_sections(const SteeringSetting& typed, const std::filesystem::path& bundle);

}  // namespace musicsteer
