#include "steer_options.hpp"

#include <algorithm>

#include "musicsteer/errors.hpp"
#include "steering/setting_fields.hpp"

namespace musicsteer::cli {
namespace {

/// Applies the bare flags to the only --steer.
void complete_only(std::vector<SteeringSetting>& typed, const std::map<std::string, std::string>& bare) {
    if (typed.empty()) throw UsageError("--alpha, --layers and the like need a --steer FILE");
    if (typed.size() > 1) {
        throw UsageError("with several vectors write their settings into --steer FILE:alpha=1.5:layers=2-5");
    }
    for (const SettingField& field : setting_fields()) {
        const auto given = bare.find(field.key);
        if (given == bare.end()) continue;
        const std::string flag = "--" + field.flag();
        if (field.is_set(typed.front())) throw UsageError(flag + " is given twice: in --steer and as a flag");
        try {
            field.parse(typed.front(), given->second);
        } catch (const UsageError& error) {
            throw UsageError(flag + ": " + error.what());
        }
    }
}

}  // namespace

std::vector<SteeringSetting> SteerFlags::settings(const std::string& bundle) const {
    SectionedSteering steering = with_sections(bundle);
    if (!steering.sections.empty())
        throw UsageError("--steer: the file has sections, which only generate follows");
    return std::move(steering.settings);
}

SectionedSteering SteerFlags::with_sections(const std::string& bundle) const {
    std::vector<SteeringSetting> typed;
    for (const std::string& text : steer) typed.push_back(SteeringSetting::parse(text));
    if (!bare.empty()) complete_only(typed, bare);
    SectionedSteering steering;
    std::vector<SteeringSetting>& settings = steering.settings;
    for (const SteeringSetting& setting : typed) {
        SectionedSteering expanded = expand_with_sections(setting, bundle);
        settings.insert(settings.end(), expanded.settings.begin(), expanded.settings.end());
        if (expanded.sections.empty()) continue;
        if (!steering.sections.empty()) throw UsageError("--steer: only one file may have sections");
        steering.sections = std::move(expanded.sections);
    }
    if (orthogonalize) {
        if (settings.size() < 2)
            throw UsageError(
                "--orthogonalize needs two vectors or more: each loses what lies along those before it");
        for (std::size_t i = 1; i < settings.size(); ++i) settings[i].orthogonalize = true;
    }
    return steering;
}

void add_steer_flags(CLI::App& command, SteerFlags& flags, const std::vector<std::string>& without) {
    const char* group = "Steering";
    command
        .add_option("--steer", flags.steer,
                    "Vector file; steering file, such as calibrate, study and generate write; or name of a\n"
                    "direction of the bundle, which inspect lists. Its settings are named like the flags\n"
                    "below: FILE:alpha=1.5:layers=2-5:rows=conditional. May be repeated.")
        ->allow_extra_args(false)
        ->type_name("FILE")
        ->group(group);
    for (const SettingField& field : setting_fields()) {
        const std::string key = field.key;
        if (key == "orthogonalize" || std::find(without.begin(), without.end(), key) != without.end())
            continue;
        command
            .add_option_function<std::string>(
                "--" + field.flag(), [&flags, key](const std::string& text) { flags.bare[key] = text; },
                field.help)
            ->type_name(field.value_name)
            ->group(group);
    }
    command
        .add_flag("--orthogonalize", flags.orthogonalize,
                  "With several vectors: each loses what lies along those before it, layer by layer")
        ->group(group);
}

}  // namespace musicsteer::cli
