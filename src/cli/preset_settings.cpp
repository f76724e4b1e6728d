#include "preset_settings.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "musicsteer/errors.hpp"
#include "musicsteer/logging.hpp"
#include "musicsteer/preset.hpp"

namespace musicsteer::cli {
namespace {

SteerSetting setting_of(const AppliedSteering& steering, const PresetOrigin& origin) {
    SteerSetting setting;
    setting.file = steering.file;
    setting.alpha = steering.alpha;
    setting.layers = layers_text(steering.layers);
    setting.source_layer = steering.source_layer;
    setting.strategy = to_string(steering.strategy);
    setting.site = site_name(steering.site);
    setting.rows = to_string(steering.rows);
    setting.unit = to_string(steering.unit);
    const SteeringEffect& effect = steering.effect;
    setting.mode = to_string(effect.mode);
    setting.value = effect.value;
    setting.schedule = effect.schedule.text();
    if (!effect.frames.all()) {
        setting.probability = effect.frames.probability;
        setting.frame_seed = effect.frames.seed;
    }
    if (effect.mode == SteeringMode::kClamp) setting.alpha.reset();  // it has none
    setting.preset = origin;
    setting.preset->vector_sha256 = steering.sha256;
    return setting;
}

void warn_if_outside(const PresetEntry& entry, double alpha, const std::string& path) {
    if (alpha >= entry.lowest_alpha && alpha <= entry.highest_alpha) return;
    log_warn("alpha " + nlohmann::json(alpha).dump() + " is outside the range that " + path +
             " recommends, " + nlohmann::json(entry.lowest_alpha).dump() + " to " +
             nlohmann::json(entry.highest_alpha).dump());
}

}  // namespace

std::vector<SteerSetting> preset_settings(const std::string& path, std::optional<double> alpha) {
    const Preset preset = Preset::load(path);
    if (alpha && preset.entries.size() > 1) {
        throw UsageError("--alpha: " + path + " steers with " + std::to_string(preset.entries.size()) +
                         " vectors, each with a strength of its own; edit it, or use --steer");
    }
    const PresetOrigin origin{path, preset.model_name, preset.weights_sha256, ""};
    std::vector<SteerSetting> settings;
    for (const PresetEntry& entry : preset.entries) {
        settings.push_back(setting_of(entry.steering, origin));
        if (!alpha) continue;
        settings.back().alpha = alpha;
        if (std::isfinite(*alpha)) warn_if_outside(entry, *alpha, path);
    }
    return settings;
}

}  // namespace musicsteer::cli
