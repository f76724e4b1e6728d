#include "steering/steering_file.hpp"

#include <cmath>

#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kSteeringFile{kSteeringFormat};

std::string range_text(const AlphaRange& range) {
    return json{range.low, range.high}.dump();
}

AlphaRange read_alpha_range(const JsonView& view) {
    const std::vector<JsonView> ends = view.items();
    if (ends.size() != 2)
        view.fail("expected two numbers, lowest and highest, found " + std::to_string(ends.size()));
    const AlphaRange range{ends[0].number(), ends[1].number()};
    if (range.low > range.high) view.fail("expected the lower number first");
    return range;
}

SteeringSetting read_entry(const JsonView& view, const std::filesystem::path& folder) {
    std::vector<std::string> keys = setting_keys();
    keys.emplace_back("alpha_range");
    view.refuse_unknown_keys(keys);
    SteeringSetting setting = read_setting(view, folder);
    if (setting.mode == SteeringMode::kClamp && setting.alpha)
        view.fail("mode clamp has no alpha: value says where the projection on the vector goes");
    if (const auto range = view.find("alpha_range")) {
        setting.alpha_range = read_alpha_range(*range);
        if (setting.alpha && !setting.alpha_range->contains(*setting.alpha)) {
            view.at("alpha").fail("expected a number in alpha_range " + range_text(*setting.alpha_range) +
                                  ", found " + json(*setting.alpha).dump());
        }
    }
    return setting;
}

void check_range(const SteeringSetting& setting) {
    const double alpha = setting.alpha.value_or(1.0);
    const AlphaRange& range = *setting.alpha_range;
    if (!std::isfinite(range.low) || !std::isfinite(range.high) || !std::isfinite(alpha))
        throw UsageError("a steering file's alphas must be finite numbers");
    if (!range.contains(alpha)) {
        throw UsageError("a steering file's alpha must lie in its alpha_range " + range_text(range) +
                         ", and " + json(alpha).dump() + " does not");
    }
}

json entry_json(const SteeringSetting& setting, const std::filesystem::path& folder) {
    json entry = setting_json_seen_from(folder, setting);
    if (setting.mode == SteeringMode::kClamp) entry.erase("alpha");
    if (!setting.alpha_range) return entry;
    check_range(setting);
    entry["alpha_range"] = {setting.alpha_range->low, setting.alpha_range->high};
    return entry;
}

SteeringSection read_section(const JsonView& view, const std::filesystem::path& folder) {
    view.refuse_unknown_keys({"at_s", "prompt", "steer"});
    SteeringSection section;
    section.at_s = view.at("at_s").number();
    if (!(section.at_s >= 0.0)) view.at("at_s").fail("expected 0 seconds or more");
    if (const auto prompt = view.find("prompt")) section.prompt = prompt->text();
    if (const auto steer = view.find("steer")) {
        section.steering.emplace();
        for (const JsonView& entry : steer->items()) section.steering->push_back(read_entry(entry, folder));
    }
    if (!section.prompt && !section.steering) view.fail("expected a prompt, steer, or both");
    return section;
}

template <typename EntryOf>
json section_json(const SteeringSection& section, const EntryOf& entry_of) {
    json result = {{"at_s", section.at_s}};
    if (section.prompt) result["prompt"] = *section.prompt;
    if (!section.steering) return result;
    result["steer"] = json::array();
    for (const SteeringSetting& setting : *section.steering) result["steer"].push_back(entry_of(setting));
    return result;
}

}  // namespace

json sections_json(const std::vector<SteeringSection>& sections) {
    json result = json::array();
    for (const SteeringSection& section : sections)
        result.push_back(section_json(section, [](const SteeringSetting& s) { return setting_json(s); }));
    return result;
}

SteeringFile SteeringFile::parse(const std::string& text, const std::string& origin,
                                 const std::filesystem::path& folder) {
    const JsonDocument document(text, origin);
    const JsonView root = document.root();
    if (root.find("prompt") && root.find("steering"))
        root.fail("this is a clip's record; its steering is beside it, in CLIP.steering.json");
    root.refuse_unknown_keys({"$schema", "format", "format_version", "oldest_reader", "musicsteer", "model",
                              "steering", "sections", "evidence"});
    // A file written by hand need not state its format.
    if (root.find("format")) kSteeringFile.check_name(root);
    if (root.find("oldest_reader")) kSteeringFile.check_reader(root);
    SteeringFile file;
    if (const auto version = root.find("musicsteer")) file.program_version = version->text();
    if (const auto model = root.find("model")) {
        file.model_name = model->at("name").text();
        file.weights_sha256 = read_sha256(model->at("weights_sha256"));
    }
    const SettingOrigin from{origin, file.model_name, file.weights_sha256};
    const auto sections = root.find("sections");
    if (!sections || root.find("steering")) {
        for (const JsonView& view : root.at("steering").items()) {
            file.settings.push_back(read_entry(view, folder));
            file.settings.back().origin = from;
        }
    }
    if (file.settings.empty() && !sections)
        root.at("steering").fail("expected at least one vector, found none");
    for (const JsonView& view : sections ? sections->items() : std::vector<JsonView>()) {
        const double after_s = file.sections.empty() ? -1.0 : file.sections.back().at_s;
        SteeringSection& section = file.sections.emplace_back(read_section(view, folder));
        if (section.at_s <= after_s) view.at("at_s").fail("expected a later time than the section before it");
        if (!section.steering) continue;
        for (SteeringSetting& setting : *section.steering) setting.origin = from;
    }
    if (const auto evidence = root.find("evidence")) {
        (void)evidence->members();  // an object
        file.evidence = json::parse(text).at("evidence");
    }
    return file;
}

SteeringFile SteeringFile::load(const std::filesystem::path& path) {
    return parse(read_text_file(path), path.string(), path.parent_path());
}

void SteeringFile::save(const std::filesystem::path& path, Overwrite overwrite) const {
    if (settings.empty() && sections.empty()) throw UsageError("a steering file needs at least one vector");
    json entries = json::array();
    for (const SteeringSetting& setting : settings)
        entries.push_back(entry_json(setting, path.parent_path()));
    json content = kSteeringFile.stamp();
    content.update({
        {"musicsteer", program_version},
        {"model", {{"name", model_name}, {"weights_sha256", weights_sha256}}},
        {"steering", std::move(entries)},
    });
    const std::filesystem::path folder = path.parent_path();
    for (const SteeringSection& section : sections)
        content["sections"].push_back(
            section_json(section, [&](const SteeringSetting& s) { return entry_json(s, folder); }));
    if (!evidence.is_null()) content["evidence"] = evidence;
    write_file_atomically(path, content.dump(2) + "\n", overwrite);
}

}  // namespace musicsteer
