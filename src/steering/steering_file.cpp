#include "steering/steering_file.hpp"

#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "steering/steering_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kSteeringFile{kSteeringFormat};
constexpr std::int64_t kMaxNumber = 1024;  // of layers and heads

std::string read_path(const JsonView& view, const std::filesystem::path& folder) {
    const std::string file = view.text();
    if (file.empty()) view.fail("expected the path of a vector file, found ''");
    return reached_from(folder, file);
}

/// "2-5,7", 3 or [2, 3, 7], as it would be typed.
std::string read_numbers(const JsonView& view) {
    if (view.is_text()) return view.text();
    if (!view.is_list()) return std::to_string(view.integer(0, kMaxNumber));
    std::vector<std::int64_t> numbers;
    for (const JsonView& item : view.items()) numbers.push_back(item.integer(0, kMaxNumber));
    if (numbers.empty()) view.fail("expected at least one number, found an empty list");
    return to_text(numbers);
}

/// Text that `parse` accepts; its complaint gets the place.
template <typename Parser>
void read_text(const JsonView& entry, const char* key, Parser parse, std::optional<std::string>& slot) {
    const auto view = entry.find(key);
    if (!view) return;
    slot = view->text();
    try {
        (void)parse(*slot);
    } catch (const UsageError& error) {
        view->fail(error.what());
    }
}

void read_effect_of(const JsonView& view, const std::filesystem::path& folder, SteeringEntry& entry) {
    read_text(view, "mode", parse_steering_mode, entry.mode);
    if (const auto value = view.find("value")) entry.value = value->number();
    read_text(view, "schedule", Schedule::parse, entry.schedule);
    if (const auto probability = view.find("probability")) entry.probability = probability->number();
    if (const auto seed = view.find("frame_seed")) entry.frame_seed = seed->unsigned_integer();
    read_text(view, "weights", LayerWeights::parse, entry.weights);
    if (const auto heads = view.find("heads")) entry.heads = read_numbers(*heads);
    if (const auto flag = view.find("orthogonalize")) entry.orthogonalize = flag->boolean();
    try {
        entry.gate = read_gate(view);
        if (entry.gate) entry.gate->file = reached_from(folder, entry.gate->file);
        (void)entry.effect();
    } catch (const UsageError& error) {
        view.fail(error.what());
    }
}

SteeringEntry read_steering_entry(const JsonView& view, const std::filesystem::path& folder) {
    view.refuse_unknown_keys({"file",         "sha256",    "concept",     "labels",       "alpha",   "layers",
                              "source_layer", "strategy",  "site",        "rows",         "unit",    "mode",
                              "value",        "schedule",  "probability", "frame_seed",   "weights", "heads",
                              "gate",         "gate_file", "gate_sha256", "orthogonalize"});
    SteeringEntry entry;
    entry.file = read_path(view.at("file"), folder);
    if (const auto sha256 = view.find("sha256")) entry.sha256 = read_sha256(*sha256);
    if (const auto alpha = view.find("alpha")) entry.alpha = alpha->number();
    if (const auto layers = view.find("layers")) entry.layers = read_numbers(*layers);
    if (const auto source = view.find("source_layer")) entry.source_layer = source->integer(0, kMaxNumber);
    read_text(view, "strategy", parse_strategy, entry.strategy);
    read_text(view, "site", parse_site, entry.site);
    read_text(view, "rows", parse_steered_rows, entry.rows);
    read_text(view, "unit", parse_alpha_unit, entry.unit);
    read_effect_of(view, folder, entry);
    return entry;
}

}  // namespace

SteeringEntry SteeringEntry::of(const AppliedSteering& steering) {
    const SteeringEffect& effect = steering.effect;
    SteeringEntry entry;
    entry.file = steering.file;
    entry.sha256 = steering.sha256;
    if (effect.mode != SteeringMode::kClamp) entry.alpha = steering.alpha;
    entry.layers = to_text(steering.layers);
    entry.source_layer = steering.source_layer;
    entry.strategy = to_text(steering.strategy);
    entry.site = to_text(steering.site);
    entry.rows = to_text(steering.rows);
    entry.unit = to_text(steering.unit);
    entry.mode = to_text(effect.mode);
    entry.value = effect.value;
    entry.schedule = effect.schedule.text();
    if (!effect.frames.all()) {
        entry.probability = effect.frames.probability;
        entry.frame_seed = effect.frames.seed;
    }
    entry.weights = effect.weights.text();
    if (!effect.heads.empty()) entry.heads = to_text(effect.heads);
    entry.gate = effect.gate;
    entry.orthogonalize = effect.orthogonalize;
    return entry;
}

SteeringEffect SteeringEntry::effect() const {
    SteeringEffect effect;
    if (mode) effect.mode = parse_steering_mode(*mode);
    if (effect.mode == SteeringMode::kClamp && alpha)
        throw UsageError("mode clamp has no alpha: value says where the projection on the vector goes");
    effect.value = value;
    if (schedule) effect.schedule = Schedule::parse(*schedule);
    if (frame_seed && !probability) throw UsageError("a frame seed makes sense with a probability");
    effect.frames = {probability.value_or(1.0), frame_seed.value_or(0)};
    if (weights) effect.weights = LayerWeights::parse(*weights);
    if (heads) effect.heads = parse_heads(*heads);
    effect.gate = gate;
    effect.orthogonalize = orthogonalize;
    return effect;
}

SteeringSpec SteeringEntry::spec(std::int64_t num_layers) const {
    SteeringSpec spec;
    spec.alpha = alpha.value_or(1.0);
    if (layers) spec.layers = parse_layers(*layers, num_layers);
    spec.source_layer = source_layer;
    if (source_layer && *source_layer >= num_layers) {
        throw UsageError("source layer " + std::to_string(*source_layer) + ": the model has layers 0 to " +
                         std::to_string(num_layers - 1));
    }
    // A source layer only makes sense for a strategy that has one, so it chooses the paper's.
    spec.strategy = source_layer ? Strategy::kOneToAll : Strategy::kPerLayer;
    if (strategy) spec.strategy = parse_strategy(*strategy);
    if (site) spec.site = parse_site(*site);
    if (rows) spec.rows = parse_steered_rows(*rows);
    if (unit) spec.unit = parse_alpha_unit(*unit);
    spec.effect = effect();
    return spec;
}

SteeringFile SteeringFile::parse(const std::string& text, const std::string& origin,
                                 const std::filesystem::path& folder) {
    const JsonDocument document(text, origin);
    const JsonView root = document.root();
    if (root.find("prompt") && root.find("steering"))
        root.fail("this is a clip's record; how it was steered lies beside it, in CLIP.steering.json");
    root.refuse_unknown_keys(
        {"$schema", "format", "format_version", "oldest_reader", "musicsteer", "model", "steering"});
    // A file that is written by hand need not say what it is.
    if (root.find("format")) kSteeringFile.check_name(root);
    if (root.find("oldest_reader")) kSteeringFile.check_reader(root);
    SteeringFile file;
    if (const auto model = root.find("model")) {
        file.model_name = model->at("name").text();
        file.weights_sha256 = read_sha256(model->at("weights_sha256"));
    }
    for (const JsonView& view : root.at("steering").items())
        file.entries.push_back(read_steering_entry(view, folder));
    if (file.entries.empty()) root.at("steering").fail("expected at least one vector, found none");
    return file;
}

SteeringFile SteeringFile::load(const std::filesystem::path& path) {
    return parse(read_text_file(path), path.string(), path.parent_path());
}

void save_steering(const std::filesystem::path& path, const ClipSettings& settings,
                   const std::vector<AppliedSteering>& steering, Overwrite overwrite) {
    json entries = json::array();
    for (const AppliedSteering& vector : steering) {
        json entry = steering_json_seen_from(path.parent_path(), vector);
        if (vector.effect.mode == SteeringMode::kClamp) entry.erase("alpha");
        entries.push_back(std::move(entry));
    }
    json content = kSteeringFile.stamp();
    content.update({
        {"musicsteer", settings.version},
        {"model", {{"name", settings.model_name}, {"weights_sha256", settings.weights_sha256}}},
        {"steering", std::move(entries)},
    });
    write_file_atomically(path, content.dump(2) + "\n", overwrite);
}

}  // namespace musicsteer
