#pragma once

#include <nlohmann/json_fwd.hpp>

#include "json_view.hpp"
#include "musicsteer/steering.hpp"

namespace musicsteer {

/// The keys of an effect, as records and plans have them. Defaults are left out, so that clips made before
/// there was a choice keep their IDs.
nlohmann::json effect_json(const SteeringEffect& effect);
/// @param view  an object that may have other keys too. @throws InputError, UsageError
SteeringEffect read_effect(const JsonView& view);

}  // namespace musicsteer
