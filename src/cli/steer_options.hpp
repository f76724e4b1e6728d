#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "musicsteer/setting.hpp"
#include "steering/steering_source.hpp"

namespace musicsteer::cli {

/// --steer (any number of them) and the bare flags that complete it when there is one.
struct SteerFlags {
    std::vector<std::string> steer;
    std::map<std::string, std::string> bare;  ///< key of a setting -> as typed
    bool orthogonalize = false;

    /// The vectors of --steer. @param bundle  whose names may be used
    /// @throws UsageError if bare flags are given without, or beside several, vectors; @throws InputError for
    /// an unusable file
    std::vector<SteeringSetting> settings(const std::string& bundle) const;
    /// The same where a steering file may have sections; only one may.
    SectionedSteering with_sections(const std::string& bundle) const;
};

/// @param without  keys of settings that the command decides itself
void add_steer_flags(CLI::App& command, SteerFlags& flags, const std::vector<std::string>& without = {});

}  // namespace musicsteer::cli
