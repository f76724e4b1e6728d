#include "steering/preset.hpp"

#include <algorithm>
#include <cmath>

#include "base/errors.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "steering/steering_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kPresetFile{kPresetFormat};

/// A word of a closed set: the parser's complaint, with the place.
template <typename Parser>
auto read_word(const JsonView& view, Parser parser) {
    try {
        return parser(view.text());
    } catch (const UsageError& error) {
        view.fail(error.what());
    }
}

std::string range_text(const PresetEntry& entry) {
    return json{entry.lowest_alpha, entry.highest_alpha}.dump();
}

void read_alpha_range(const JsonView& view, PresetEntry& entry) {
    const std::vector<JsonView> ends = view.items();
    if (ends.size() != 2)
        view.fail("expected two numbers, lowest and highest, found " + std::to_string(ends.size()));
    entry.lowest_alpha = ends[0].number();
    entry.highest_alpha = ends[1].number();
    if (entry.lowest_alpha > entry.highest_alpha) view.fail("expected the lower number first");
}

PresetEntry read_preset_entry(const JsonView& view, const std::filesystem::path& folder) {
    PresetEntry entry;
    AppliedSteering& steering = entry.steering;
    const std::string file = view.at("file").text();
    if (file.empty()) view.at("file").fail("expected the path of a vector file, found ''");
    steering.file = reached_from(folder, file);
    steering.sha256 = read_sha256(view.at("sha256"));
    steering.concept_name = view.at("concept").text();
    steering.positive_label = view.at("labels").at("positive").text();
    steering.negative_label = view.at("labels").at("negative").text();
    steering.strategy = read_word(view.at("strategy"), parse_strategy);
    for (const JsonView& layer : view.at("layers").items()) steering.layers.push_back(layer.integer(0));
    if (steering.layers.empty()) view.at("layers").fail("expected at least one layer, found none");
    if (const auto source = view.find("source_layer")) steering.source_layer = source->integer(0);
    steering.site = read_word(view.at("site"), parse_site);
    steering.rows = read_word(view.at("rows"), parse_steered_rows);
    steering.unit = read_word(view.at("unit"), parse_alpha_unit);
    try {
        steering.effect = read_effect(view);
    } catch (const UsageError& error) {
        view.fail(error.what());
    }
    if (std::optional<Gate>& gate = steering.effect.gate) gate->file = reached_from(folder, gate->file);
    read_alpha_range(view.at("alpha_range"), entry);
    steering.alpha = view.at("alpha").number();
    if (steering.alpha < entry.lowest_alpha || steering.alpha > entry.highest_alpha) {
        view.at("alpha").fail("expected a number in alpha_range " + range_text(entry) + ", found " +
                              json(steering.alpha).dump());
    }
    return entry;
}

void check_entry(const PresetEntry& entry) {
    const double alpha = entry.steering.alpha;
    if (!std::isfinite(entry.lowest_alpha) || !std::isfinite(entry.highest_alpha) || !std::isfinite(alpha))
        throw UsageError("a preset's alphas must be finite numbers");
    if (alpha < entry.lowest_alpha || alpha > entry.highest_alpha) {
        throw UsageError("a preset's alpha must lie in its alpha_range " + range_text(entry) + ", and " +
                         json(alpha).dump() + " does not");
    }
}

json entry_json(const PresetEntry& entry, const std::filesystem::path& folder) {
    json result = steering_json_seen_from(folder, entry.steering);
    result["alpha_range"] = {entry.lowest_alpha, entry.highest_alpha};
    return result;
}

}  // namespace

Preset Preset::parse(const std::string& text, const std::string& origin,
                     const std::filesystem::path& folder) {
    const JsonDocument document(text, origin);
    const JsonView root = document.root();
    kPresetFile.check(root);
    Preset preset;
    preset.model_name = root.at("model").at("name").text();
    preset.weights_sha256 = read_sha256(root.at("model").at("weights_sha256"));
    for (const JsonView& view : root.at("steering").items())
        preset.entries.push_back(read_preset_entry(view, folder));
    if (preset.entries.empty()) root.at("steering").fail("expected at least one entry, found none");
    (void)root.at("evidence").members();  // an object
    preset.evidence = json::parse(text).at("evidence");
    return preset;
}

Preset Preset::load(const std::filesystem::path& path) {
    return parse(read_text_file(path), path.string(), path.parent_path());
}

void Preset::save(const std::filesystem::path& path, Overwrite overwrite) const {
    if (entries.empty()) throw UsageError("a preset needs at least one vector");
    json steering = json::array();
    for (const PresetEntry& entry : entries) {
        check_entry(entry);
        steering.push_back(entry_json(entry, path.parent_path()));
    }
    json content = kPresetFile.stamp();
    content.update({
        {"musicsteer", program_version()},
        {"model", {{"name", model_name}, {"weights_sha256", weights_sha256}}},
        {"steering", std::move(steering)},
        {"evidence", evidence},
    });
    write_file_atomically(path, content.dump(2) + "\n", overwrite);
}

}  // namespace musicsteer
