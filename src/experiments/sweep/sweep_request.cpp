#include "experiments/sweep/sweep_request.hpp"

#include <algorithm>

#include "base/errors.hpp"
#include "base/numbers.hpp"
#include "base/size_limits.hpp"
#include "directions/prompt_choice.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

/// One word or a list of words; a word may itself be a list with commas.
std::vector<std::string> read_words(const JsonView& view) {
    if (!view.is_list()) return split_list(view.text(), view.place());
    std::vector<std::string> words;
    for (const JsonView& item : view.items()) words.push_back(item.text());
    if (words.empty()) view.fail("expected at least one item, found an empty list");
    return words;
}

std::vector<double> read_alphas(const JsonView& view) {
    if (view.is_text()) return parse_alphas(view.text());
    if (!view.is_list()) return {view.number()};
    std::vector<double> alphas;
    for (const JsonView& item : view.items()) alphas.push_back(item.number());
    if (alphas.empty()) view.fail("expected at least one alpha, found an empty list");
    return alphas;
}

std::vector<std::uint64_t> read_seeds(const JsonView& view) {
    if (view.is_text()) return parse_seeds(view.text());
    if (!view.is_list()) return {view.unsigned_integer()};
    std::vector<std::uint64_t> seeds;
    for (const JsonView& item : view.items()) seeds.push_back(item.unsigned_integer());
    if (seeds.empty()) view.fail("expected at least one seed, found an empty list");
    return seeds;
}

std::vector<std::int64_t> read_layer_numbers(const JsonView& view) {
    if (!view.is_list()) return {view.integer(0, kMaxLayers)};
    std::vector<std::int64_t> layers;
    for (const JsonView& item : view.items()) layers.push_back(item.integer(0, kMaxLayers));
    if (layers.empty()) view.fail("expected at least one layer, found an empty list");
    return layers;
}

/// A condition of a list: 4, "2-5", "all", or [0, 2, 4] for layers that are steered together.
std::string read_layer_condition(const JsonView& view) {
    if (view.is_text()) {
        const auto conditions = parse_layer_conditions(view.text());
        if (conditions.size() > 1) view.fail("one condition is expected here: write [0, 2] or \"0+2\"");
        return conditions.front();
    }
    return to_text(read_layer_numbers(view));
}

std::vector<std::string> read_layer_conditions(const JsonView& view) {
    if (view.is_text()) return parse_layer_conditions(view.text());
    if (!view.is_list()) return {read_layer_condition(view)};
    std::vector<std::string> conditions;
    for (const JsonView& item : view.items()) conditions.push_back(read_layer_condition(item));
    if (conditions.empty()) view.fail("expected at least one item, found an empty list");
    return conditions;
}

SteeringAxes read_axes(const JsonView& view) {
    SteeringAxes axes;
    if (const auto alphas = view.find("alphas")) axes.alphas = read_alphas(*alphas);
    if (const auto layers = view.find("layers")) axes.layers = read_layer_conditions(*layers);
    if (const auto strategies = view.find("strategies")) axes.strategies = read_words(*strategies);
    if (const auto sources = view.find("source_layers")) axes.source_layers = read_layer_numbers(*sources);
    if (const auto sites = view.find("sites")) axes.sites = read_words(*sites);
    if (const auto rows = view.find("rows")) axes.rows = read_words(*rows);
    if (const auto units = view.find("units")) axes.units = read_words(*units);
    return axes;
}

std::string path_from(const fs::path& folder, const JsonView& view) {
    const std::string text = view.text();
    if (text.empty()) view.fail("expected the name of a file, found empty text");
    return reached_from(folder, text);
}

/// Keys that a plan file has for axes: `rows` and `layers` are lists there.
bool is_axis(const std::string& key) {
    return key == "rows" || key == "layers";
}

std::vector<SweepVector> read_vectors(const JsonView& view, const fs::path& folder) {
    std::vector<SweepVector> vectors;
    for (const JsonView& item : view.items()) {
        if (item.is_text()) {
            vectors.emplace_back().setting.file = path_from(folder, item);
            continue;
        }
        item.refuse_unknown_keys({"file", "alphas", "layers", "strategies", "source_layers", "sites", "rows",
                                  "units", "mode", "schedule", "ramp_in_s", "probability", "frame_seed",
                                  "weights", "heads", "gate", "gate_file"});
        SweepVector& vector = vectors.emplace_back();
        for (const SettingField& field : setting_fields()) {
            if (!is_axis(field.key)) field.read(vector.setting, item, field.key);
        }
        vector.setting.file = path_from(folder, item.at("file"));
        if (vector.setting.gate) vector.setting.gate->file = reached_from(folder, vector.setting.gate->file);
        vector.axes = read_axes(item);
    }
    if (vectors.empty()) view.fail("expected at least one vector file, found an empty list");
    return vectors;
}

void read_sampling(const JsonView& root, SweepRequest& request) {
    if (const auto value = root.find("duration_s")) request.duration_s = value->number();
    if (const auto value = root.find("guidance_scale")) request.guidance_scale = value->number();
    if (const auto value = root.find("top_k")) request.top_k = value->integer(0);
    if (const auto value = root.find("top_p")) request.top_p = value->number();
    if (const auto value = root.find("temperature")) request.temperature = value->number();
}

void read_run(const JsonView& root, SweepRequest& request) {
    if (const auto value = root.find("sample_format")) request.sample_format = value->text();
    if (const auto value = root.find("tempo_prior")) request.tempo_prior = value->text();
    if (const auto value = root.find("audio")) request.audio = value->boolean();
    if (const auto value = root.find("kl")) request.kl = value->boolean();
    if (const auto value = root.find("batch_size")) request.batch_size = value->integer(1, 1'000'000);
    if (const auto value = root.find("threads")) request.threads = value->integer(1, 4096);
    if (const auto value = root.find("device")) request.device = value->text();
}

}  // namespace

std::vector<std::string> parse_layer_conditions(const std::string& text) {
    std::vector<std::string> conditions = split_list(text, "layers");
    for (std::string& condition : conditions) std::replace(condition.begin(), condition.end(), '+', ',');
    return conditions;
}

SweepRequest SweepRequest::load(const fs::path& path) {
    return parse(read_text_file(path), path.string(), path.parent_path());
}

SweepRequest SweepRequest::parse(const std::string& json, const std::string& origin, const fs::path& folder) {
    const JsonDocument document(json, origin);
    const JsonView root = document.root();
    root.refuse_unknown_keys(
        {"$schema",     "model",           "prompts",     "prompts_file", "limit",          "seeds",
         "vectors",     "alphas",          "layers",      "strategies",   "sites",          "source_layers",
         "rows",        "units",           "duration_s",  "top_k",        "guidance_scale", "top_p",
         "temperature", "negative_prompt", "tempo_prior", "audio",        "sample_format",  "batch_size",
         "threads",     "device",          "kl"});
    SweepRequest request;
    if (const auto schema = root.find("$schema")) schema->text();
    if (const auto model = root.find("model")) request.model = path_from(folder, *model);
    if (const auto prompts = root.find("prompts")) {
        for (const JsonView& item : prompts->items()) request.prompts.push_back(item.text());
    }
    if (const auto file = root.find("prompts_file")) request.prompts_file = path_from(folder, *file);
    if (const auto limit = root.find("limit")) request.limit = limit->integer(1);
    if (const auto text = root.find("negative_prompt")) request.negative_prompt = text->text();
    if (const auto seeds = root.find("seeds")) request.seeds = read_seeds(*seeds);
    if (const auto vectors = root.find("vectors")) request.vectors = read_vectors(*vectors, folder);
    request.axes = read_axes(root);
    read_sampling(root, request);
    read_run(root, request);
    return request;
}

std::vector<std::string> SweepRequest::collect_prompts() const {
    return musicsteer::collect_prompts({prompts, prompts_file, limit});
}

}  // namespace musicsteer
