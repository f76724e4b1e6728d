#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "musicsteer/setting.hpp"
#include "steering/steering_source.hpp"

namespace musicsteer::cli {

/// Any number of --steer, and the bare flags that apply if there is only one.
struct SteerFlags {
    std::vector<std::string> steer;
    std::map<std::string, std::string> bare;  ///< key of a setting -> as typed
    bool orthogonalize = false;

    /// The vectors of --steer. @param bundle  for names of directions
    /// @throws UsageError if bare flags are given without vectors or with several; @throws InputError for
    /// an unusable file
    std::vector<SteeringSetting> settings(const std::string& bundle) const;
    /// The same, but one steering file may have sections.
    SectionedSteering with_sections(const std::string& bundle) const;
};

/// @param without  keys of settings that the command sets itself
void add_steer_flags(CLI::App& command, SteerFlags& flags, const std::vector<std::string>& without = {});

}  // namespace musicsteer::cli
