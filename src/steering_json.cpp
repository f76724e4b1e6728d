#include "steering_json.hpp"

#include <nlohmann/json.hpp>

namespace musicsteer {

nlohmann::json effect_json(const SteeringEffect& effect) {
    nlohmann::json result = nlohmann::json::object();
    if (effect.mode != SteeringMode::kAdd) result["mode"] = to_string(effect.mode);
    if (effect.value) result["value"] = *effect.value;
    if (!effect.schedule.is_constant()) result["schedule"] = effect.schedule.text();
    if (!effect.frames.all()) {
        result["probability"] = effect.frames.probability;
        result["frame_seed"] = effect.frames.seed;
    }
    return result;
}

SteeringEffect read_effect(const JsonView& view) {
    SteeringEffect effect;
    if (const auto mode = view.find("mode")) effect.mode = parse_steering_mode(mode->text());
    if (const auto value = view.find("value")) effect.value = value->number();
    if (const auto schedule = view.find("schedule")) effect.schedule = Schedule::parse(schedule->text());
    if (const auto probability = view.find("probability")) effect.frames.probability = probability->number();
    if (const auto seed = view.find("frame_seed")) effect.frames.seed = seed->unsigned_integer();
    return effect;
}

}  // namespace musicsteer
