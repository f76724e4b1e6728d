#include "steering/steering_source.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

#include "musicsteer/errors.hpp"
#include "steering/bundle_directions.hpp"
#include "steering/setting_fields.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

/// JSON text begins with a bracket, a safetensors file with a binary number whose upper bytes are 0.
bool is_steering_file(const fs::path& path) {
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) return false;
    std::array<char, 16> bytes{};
    std::ifstream file(path, std::ios::binary);
    file.read(bytes.data(), bytes.size());
    const std::string_view start(bytes.data(), static_cast<std::size_t>(file.gcount()));
    const std::size_t first = start.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && (start[first] == '{' || start[first] == '[') &&
           start.find('\0') == std::string_view::npos;
}

/// Whether a direction of the bundle is meant, and no file. @throws InputError with the names that there are
bool names_direction(const std::string& typed, const fs::path& bundle) {
    std::error_code ignored;
    if (fs::exists(typed, ignored) || bundle.empty() || fs::path(typed).has_parent_path()) return false;
    const std::vector<std::string> names = direction_names(bundle);
    if (std::find(names.begin(), names.end(), typed) != names.end()) return true;
    if (names.empty()) return false;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    throw InputError("--steer " + typed + ": there is no such file, and the directions of " +
                     bundle.string() + " are " + list + did_you_mean(typed, names));
}

/// A direction has a strength that its evaluation stands for. @throws UsageError
void require_alpha(const std::string& name, const SectionedSteering& steering) {
    for (const SteeringSetting& setting : steering.settings) {
        if (!setting.alpha && setting.mode != SteeringMode::kClamp)
            throw UsageError("--steer " + name + ": this direction has no default strength; give one, as " +
                             name + ":alpha=0.5");
    }
}

/// The file's settings, with what is typed beside them.
SectionedSteering complete_file(const SteeringFile& file, const SteeringSetting& typed) {
    SectionedSteering steering{file.settings, file.sections};
    if (!typed.has_any()) return steering;
    if (!steering.sections.empty())
        throw UsageError("--steer " + typed.file +
                         " has sections, each with settings of its own: edit the file");
    if (steering.settings.size() > 1) {
        throw UsageError(
            "--steer " + typed.file + " has " + std::to_string(steering.settings.size()) +
            " vectors, each with settings of its own: edit the file, or give its vectors one by one");
    }
    for (const SettingField& field : setting_fields()) {
        if (field.is_set(typed)) field.parse(steering.settings.front(), field.print(typed));
    }
    return steering;
}

}  // namespace

SectionedSteering expand_with_sections(const SteeringSetting& typed, const fs::path& bundle) {
    const bool is_named = names_direction(typed.file, bundle);
    const fs::path path = is_named ? direction_file(bundle, typed.file) : fs::path(typed.file);
    if (!is_named && !is_steering_file(path)) return {{typed}, {}};
    SectionedSteering steering = complete_file(SteeringFile::load(path), typed);
    if (is_named) require_alpha(typed.file, steering);
    return steering;
}

std::vector<SteeringSetting> expand_steering(const SteeringSetting& typed, const fs::path& bundle) {
    SectionedSteering steering = expand_with_sections(typed, bundle);
    if (!steering.sections.empty())
        throw UsageError("--steer " + typed.file + " has sections, which only generate follows");
    return std::move(steering.settings);
}

}  // namespace musicsteer
