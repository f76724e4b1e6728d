#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steering/steering_file.hpp"

namespace musicsteer::cli {

/// The preset or steering file that a setting comes from.
struct SettingOrigin {
    std::string path;
    std::string model_name;      ///< of the model that it was made on
    std::string weights_sha256;  ///< empty if it does not say
};

/// One vector file and how it is applied; what is not given is decided by resolve_steering.
struct SteerSetting : SteeringEntry {
    std::optional<SettingOrigin> origin;  ///< none: typed

    /// "FILE:alpha=1.5:layers=2-5". @throws UsageError naming the key that is unknown or repeated
    static SteerSetting parse(const std::string& text);
};

/// --preset, --steering, --steer (any number of them) and the bare flags that complete it when there is one.
struct SteerFlags {
    std::string preset;
    std::string steering;  ///< a steering file
    std::vector<std::string> steer;
    SteerSetting bare;  ///< the bare flags, but for the gate
    std::optional<std::string> gate;
    bool orthogonalize = false;

    /// The vectors of the preset, of the steering file, and of --steer. @throws UsageError if bare flags are
    /// given without, or beside several, vectors; @throws InputError for an unusable file
    std::vector<SteerSetting> settings() const;
};

void add_steer_flags(CLI::App& command, SteerFlags& flags);

}  // namespace musicsteer::cli
