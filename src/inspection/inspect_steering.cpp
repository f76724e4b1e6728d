#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "inspection/inspect.hpp"
#include "io/sha256.hpp"
#include "steering/setting_fields.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer::inspection {
namespace {

using nlohmann::json;

void print_setting(std::ostream& out, const SteeringSetting& setting) {
    out << '\n';
    print_field(out, "vector file", setting.file);
    if (!setting.sha256.empty()) print_field(out, "sha256", setting.sha256);
    if (!setting.concept_name.empty()) {
        print_field(out, "concept",
                    setting.concept_name + ": " + setting.positive_label + " - " + setting.negative_label);
    }
    for (const SettingField& field : setting_fields()) {
        if (field.is_set(setting)) print_field(out, field.flag(), field.print(setting));
    }
    if (setting.alpha_range) {
        print_field(
            out, "found to work",
            "alpha " + to_text(setting.alpha_range->low) + " to " + to_text(setting.alpha_range->high));
    }
}

void print_section(std::ostream& out, const SteeringSection& section) {
    out << '\n';
    print_field(out, "from", to_text(section.at_s) + " s on");
    if (section.prompt) print_field(out, "prompt", *section.prompt);
    if (!section.steering) return;
    if (section.steering->empty()) print_field(out, "steering", "none");
    for (const SteeringSetting& setting : *section.steering) print_setting(out, setting);
}

}  // namespace

Report inspect_steering(const std::string& path, const json& content) {
    const SteeringFile file = SteeringFile::load(path);  // its error says what is wrong
    Report report;
    report.data = {{"kind", "steering"}, {"sha256", sha256_of_file(path)}};
    for (const char* key : {"steering", "sections", "model", "evidence"}) {
        if (content.contains(key)) report.data[key] = content[key];
    }
    report.print = [file, sha256 = report.data["sha256"].get<std::string>()](std::ostream& out) {
        print_field(out, "steering", counted(file.settings.size(), "vector"));
        if (!file.sections.empty()) print_field(out, "sections", counted(file.sections.size(), "section"));
        print_field(out, "sha256", sha256);
        if (!file.model_name.empty()) print_field(out, "made on", file.model_name);
        for (const SteeringSetting& setting : file.settings) print_setting(out, setting);
        for (const SteeringSection& section : file.sections) print_section(out, section);
        if (file.evidence.is_null()) return;
        out << '\n';
        for (const auto& [key, value] : file.evidence.items())
            print_field(out, key, value.is_string() ? value.get<std::string>() : value.dump());
    };
    return report;
}

}  // namespace musicsteer::inspection
