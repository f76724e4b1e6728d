#include "steering/steering_source.hpp"

#include <array>
#include <fstream>
#include <string_view>

#include "musicsteer/errors.hpp"
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

/// The path: as typed, or the bundle's file of that name.
fs::path find_file(const std::string& typed, const fs::path& bundle) {
    std::error_code ignored;
    if (fs::exists(typed, ignored) || bundle.empty() || fs::path(typed).has_parent_path()) return typed;
    const fs::path named = bundle / "steering" / (typed + ".json");
    return fs::exists(named, ignored) ? named : fs::path(typed);
}

}  // namespace

SectionedSteering expand_with_sections(const SteeringSetting& typed, const fs::path& bundle) {
    const fs::path path = find_file(typed.file, bundle);
    if (!is_steering_file(path)) return {{typed}, {}};
    const SteeringFile file = SteeringFile::load(path);
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

std::vector<SteeringSetting> expand_steering(const SteeringSetting& typed, const fs::path& bundle) {
    SectionedSteering steering = expand_with_sections(typed, bundle);
    if (!steering.sections.empty())
        throw UsageError("--steer " + typed.file + " has sections, which only generate follows");
    return std::move(steering.settings);
}

}  // namespace musicsteer
