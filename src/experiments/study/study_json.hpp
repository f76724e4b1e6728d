#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "experiments/study/study.hpp"

namespace musicsteer {

/// A study's result in a sentence.
std::string study_sentence(const Study& study);
/// What to do next if it does not steer; empty if it does.
std::string study_advice(const Study& study);
/// study.json (docs/formats.md).
nlohmann::json study_json(const Study& study);
/// Writes study.json, and steering.json if a setting steers. @throws OutputError
void save_study(const Study& study, const std::filesystem::path& folder);

}  // namespace musicsteer
