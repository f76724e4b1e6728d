#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "experiments/clip_record.hpp"
#include "io/json_view.hpp"
#include "steering/steering.hpp"

namespace musicsteer {

/// The keys of an effect, as records and plans have them. Defaults are left out, so that clips made before
/// there was a choice keep their IDs.
nlohmann::json effect_json(const SteeringEffect& effect);
/// @param view  an object that may have other keys too. @throws InputError, UsageError
SteeringEffect read_effect(const JsonView& view);
/// The gate of keys `gate`, `gate_file` and, if it is there, `gate_sha256`. @throws InputError, UsageError
std::optional<Gate> read_gate(const JsonView& view);

/// @throws InputError if it is no SHA-256
std::string read_sha256(const JsonView& view);

/// The file's path as a file in `folder` has it, which moves with the folder, and back.
std::string seen_from(const std::filesystem::path& folder, const std::string& file);
std::string reached_from(const std::filesystem::path& folder, const std::string& file);
/// steering_json with paths as they are seen from the folder.
nlohmann::json steering_json_seen_from(const std::filesystem::path& folder, const AppliedSteering& steering);

}  // namespace musicsteer
