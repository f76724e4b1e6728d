#include "steering/setting_json.hpp"

#include <nlohmann/json.hpp>

#include "musicsteer/errors.hpp"
#include "steering/setting_fields.hpp"

namespace musicsteer {

using nlohmann::json;

json setting_identity(const SteeringSetting& setting) {
    json identity = {{"sha256", setting.sha256}, {"alpha", 1.0}};
    for (const SettingField& field : setting_fields()) {
        if (field.is_set(setting)) field.write(setting, identity, field.key);
    }
    identity.erase("gate_file");  // its hash is used
    return identity;
}

json setting_json(const SteeringSetting& setting) {
    json entry = setting_identity(setting);
    entry["file"] = setting.file;
    if (setting.gate) entry["gate_file"] = setting.gate->file;
    entry["concept"] = setting.concept_name;
    entry["labels"] = {{"positive", setting.positive_label}, {"negative", setting.negative_label}};
    return entry;
}

json recommended_json(const SteeringSetting& setting) {
    json entry = setting_json(setting);
    if (setting.alpha_range) entry["alpha_range"] = {setting.alpha_range->low, setting.alpha_range->high};
    return entry;
}

json setting_json_seen_from(const std::filesystem::path& folder, const SteeringSetting& setting) {
    json entry = setting_json(setting);
    for (const char* key : {"file", "gate_file"}) {
        if (entry.contains(key)) entry[key] = seen_from(folder, entry[key].get<std::string>());
    }
    return entry;
}

std::vector<std::string> setting_keys() {
    std::vector<std::string> keys = {"file", "sha256", "concept", "labels", "gate_file", "gate_sha256"};
    for (const SettingField& field : setting_fields()) keys.emplace_back(field.key);
    return keys;
}

SteeringSetting read_setting(const JsonView& view, const std::filesystem::path& folder) {
    SteeringSetting setting;
    const std::string file = view.at("file").text();
    if (file.empty()) view.at("file").fail("expected the path of a vector file, found ''");
    setting.file = reached_from(folder, file);
    if (const auto sha256 = view.find("sha256")) setting.sha256 = read_sha256(*sha256);
    if (const auto name = view.find("concept")) setting.concept_name = name->text();
    if (const auto labels = view.find("labels")) {
        setting.positive_label = labels->at("positive").text();
        setting.negative_label = labels->at("negative").text();
    }
    for (const SettingField& field : setting_fields()) field.read(setting, view, field.key);
    if (setting.gate) setting.gate->file = reached_from(folder, setting.gate->file);
    return setting;
}

std::string read_sha256(const JsonView& view) {
    constexpr std::size_t kDigits = 64;
    std::string digits = view.text();
    const bool well_formed =
        digits.size() == kDigits && digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!well_formed) view.fail("expected a SHA-256 (64 digits 0-9, a-f), found " + in_quotes(digits));
    return digits;
}

std::string seen_from(const std::filesystem::path& folder, const std::string& file) {
    std::error_code ignored;
    const auto target = std::filesystem::weakly_canonical(file, ignored);
    const auto base = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, ignored);
    return target.lexically_proximate(base).generic_string();
}

std::string reached_from(const std::filesystem::path& folder, const std::string& file) {
    return (folder / file).lexically_normal().string();  // an absolute path is unchanged
}

}  // namespace musicsteer
