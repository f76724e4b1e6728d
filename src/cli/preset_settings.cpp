#include "preset_settings.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "base/logging.hpp"
#include "steering/preset.hpp"

namespace musicsteer::cli {
namespace {

SteerSetting setting_of(const AppliedSteering& steering, const SettingOrigin& origin) {
    SteerSetting setting;
    static_cast<SteeringEntry&>(setting) = SteeringEntry::of(steering);
    setting.origin = origin;
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
    const SettingOrigin origin{path, preset.model_name, preset.weights_sha256};
    std::vector<SteerSetting> settings;
    for (const PresetEntry& entry : preset.entries) {
        settings.push_back(setting_of(entry.steering, origin));
        if (!alpha) continue;
        settings.back().alpha = alpha;
        if (std::isfinite(*alpha)) warn_if_outside(entry, *alpha, path);
    }
    return settings;
}

std::vector<SteerSetting> steering_file_settings(const std::string& path) {
    const SteeringFile file = SteeringFile::load(path);
    const SettingOrigin origin{path, file.model_name, file.weights_sha256};
    std::vector<SteerSetting> settings;
    for (const SteeringEntry& entry : file.entries) {
        SteerSetting& setting = settings.emplace_back();
        static_cast<SteeringEntry&>(setting) = entry;
        setting.origin = origin;
    }
    return settings;
}

}  // namespace musicsteer::cli
