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

}  // namespace

SteeringFile SteeringFile::parse(const std::string& text, const std::string& origin,
                                 const std::filesystem::path& folder) {
    const JsonDocument document(text, origin);
    const JsonView root = document.root();
    if (root.find("prompt") && root.find("steering"))
        root.fail("this is a clip's record; how it was steered lies beside it, in CLIP.steering.json");
    root.refuse_unknown_keys({"$schema", "format", "format_version", "oldest_reader", "musicsteer", "model",
                              "steering", "evidence"});
    // A file that is written by hand need not say what it is.
    if (root.find("format")) kSteeringFile.check_name(root);
    if (root.find("oldest_reader")) kSteeringFile.check_reader(root);
    SteeringFile file;
    if (const auto version = root.find("musicsteer")) file.program_version = version->text();
    if (const auto model = root.find("model")) {
        file.model_name = model->at("name").text();
        file.weights_sha256 = read_sha256(model->at("weights_sha256"));
    }
    for (const JsonView& view : root.at("steering").items()) {
        file.settings.push_back(read_entry(view, folder));
        file.settings.back().origin = SettingOrigin{origin, file.model_name, file.weights_sha256};
    }
    if (file.settings.empty()) root.at("steering").fail("expected at least one vector, found none");
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
    if (settings.empty()) throw UsageError("a steering file needs at least one vector");
    json entries = json::array();
    for (const SteeringSetting& setting : settings)
        entries.push_back(entry_json(setting, path.parent_path()));
    json content = kSteeringFile.stamp();
    content.update({
        {"musicsteer", program_version},
        {"model", {{"name", model_name}, {"weights_sha256", weights_sha256}}},
        {"steering", std::move(entries)},
    });
    if (!evidence.is_null()) content["evidence"] = evidence;
    write_file_atomically(path, content.dump(2) + "\n", overwrite);
}

}  // namespace musicsteer
