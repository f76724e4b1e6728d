#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace musicsteer {

/// The differences between two objects, such as "top_k was 250 and is 50, execution.device was ..."; empty if
/// they are the same.
std::string json_differences(const nlohmann::json& before, const nlohmann::json& after);

}  // namespace musicsteer
