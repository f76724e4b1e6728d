#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// From a time on, another prompt, other steering, or both; what is not given goes on as before.
struct SteeringSection {
    double at_s = 0.0;
    std::optional<std::string> prompt;
    std::optional<std::vector<SteeringSetting>> steering;  ///< empty: none
};

/// As records have it.
nlohmann::json sections_json(const std::vector<SteeringSection>& sections);

/// A way of steering as a file: all that flags can say, and, where a study or a calibration found it, the
/// strengths that work and what that rests on (docs/steering.schema.json).
struct SteeringFile {
    std::string program_version;  ///< that writes it
    std::string model_name;       ///< of the model that it was made on; empty if it does not say
    std::string weights_sha256;   ///< the same
    std::vector<SteeringSetting> settings;
    std::vector<SteeringSection> sections;  ///< by time
    nlohmann::json evidence;                ///< what a recommendation rests on; its writer's; null: none

    /// @throws InputError that names the file and the place, with a suggestion for an unknown key
    static SteeringFile load(const std::filesystem::path& path);
    /// @param origin  named in messages. @param folder  what the vector files' paths are relative to
    static SteeringFile parse(const std::string& text, const std::string& origin,
                              const std::filesystem::path& folder);
    /// Writes the vector files' paths as they are seen from the file's folder.
    /// @throws OutputError; @throws UsageError if there is no vector, an alpha is outside its range or a
    /// number is not finite
    void save(const std::filesystem::path& path, Overwrite overwrite) const;
};

inline constexpr const char* kSteeringFormat = "musicsteer-steering";

}  // namespace musicsteer
