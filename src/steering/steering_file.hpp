#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// From a time on, another prompt, other steering, or both. What is not given stays as before.
struct SteeringSection {
    double at_s = 0.0;
    std::optional<std::string> prompt;
    std::optional<std::vector<SteeringSetting>> steering;  ///< empty: none
};

/// As in records.
nlohmann::json sections_json(const std::vector<SteeringSection>& sections);

/// Steering as a file: everything that flags can set and, if a study or a calibration wrote it, the strengths
/// that work and the evidence (docs/steering.schema.json).
struct SteeringFile {
    std::string program_version;  ///< of the writing program
    std::string model_name;       ///< of the model that it was made for; empty if not stated
    std::string weights_sha256;   ///< the same
    std::vector<SteeringSetting> settings;
    std::vector<SteeringSection> sections;  ///< by time
    nlohmann::json evidence;  ///< results behind a recommendation, in the writer's form; null: none

    /// @throws InputError that names the file and the place, with a suggestion for an unknown key
    static SteeringFile load(const std::filesystem::path& path);
    /// @param origin  named in messages. @param folder  base of the vector files' relative paths
    static SteeringFile parse(const std::string& text, const std::string& origin,
                              const std::filesystem::path& folder);
    /// Writes the vector files' paths relative to the file's folder.
    /// @throws OutputError; @throws UsageError if there is no vector, an alpha is outside its range or a
    /// number is not finite
    void save(const std::filesystem::path& path, Overwrite overwrite) const;
};

inline constexpr const char* kSteeringFormat = "musicsteer-steering";

}  // namespace musicsteer
