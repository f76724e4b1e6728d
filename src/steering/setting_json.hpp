#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/json_view.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// What of a setting changes a clip's bytes: hashes, not names of files. What is not set is left out, so that
/// clips made before there was a setting keep their IDs.
nlohmann::json setting_identity(const SteeringSetting& setting);
/// The entry of a record's `steering` (docs/formats.md).
nlohmann::json setting_json(const SteeringSetting& setting);
/// setting_json with paths as they are seen from the folder.
nlohmann::json setting_json_seen_from(const std::filesystem::path& folder, const SteeringSetting& setting);

/// The keys that read_setting knows, gate_file and gate_sha256 too.
std::vector<std::string> setting_keys();
/// @param view  an object that may have other keys too  @param folder  what its paths are relative to
/// @throws InputError
SteeringSetting read_setting(const JsonView& view, const std::filesystem::path& folder);

/// @throws InputError if it is no SHA-256
std::string read_sha256(const JsonView& view);

/// The file's path as a file in `folder` has it, which moves with the folder, and back.
std::string seen_from(const std::filesystem::path& folder, const std::string& file);
std::string reached_from(const std::filesystem::path& folder, const std::string& file);

}  // namespace musicsteer
