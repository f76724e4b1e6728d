#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/json_view.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// The parts of a setting that change a clip's bytes: hashes, not names of files. Unset fields are left out,
/// so that adding a setting does not change IDs.
nlohmann::json setting_identity(const SteeringSetting& setting);
/// The entry of a record's `steering` (docs/formats.md).
nlohmann::json setting_json(const SteeringSetting& setting);
/// setting_json with the range of alpha that was found to work, if there is one.
nlohmann::json recommended_json(const SteeringSetting& setting);
/// setting_json with paths relative to the folder.
nlohmann::json setting_json_seen_from(const std::filesystem::path& folder, const SteeringSetting& setting);

/// The keys that read_setting knows, including gate_file and gate_sha256.
std::vector<std::string> setting_keys();
/// @param view  an object that may have other keys too  @param folder  base of its relative paths
/// @throws InputError
SteeringSetting read_setting(const JsonView& view, const std::filesystem::path& folder);

/// @throws InputError if it is not a SHA-256
std::string read_sha256(const JsonView& view);

/// Converts the file's path to one relative to `folder`, and back.
std::string seen_from(const std::filesystem::path& folder, const std::string& file);
std::string reached_from(const std::filesystem::path& folder, const std::string& file);

}  // namespace musicsteer
