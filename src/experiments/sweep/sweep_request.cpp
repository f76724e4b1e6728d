#include "musicsteer/sweep_request.hpp"

#include <algorithm>
#include <string_view>

#include "base/numbers.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"
#include "prompts/prompt_choice.hpp"
#include "steering/setting_fields.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

std::vector<std::uint64_t> read_seeds(const JsonView& view) {
    if (view.is_text()) return parse_seeds(view.text());
    if (!view.is_list()) return {view.unsigned_integer()};
    std::vector<std::uint64_t> seeds;
    for (const JsonView& item : view.items()) seeds.push_back(item.unsigned_integer());
    if (seeds.empty()) view.fail("expected at least one seed, found an empty list");
    return seeds;
}

std::string path_from(const fs::path& folder, const JsonView& view) {
    const std::string text = view.text();
    if (text.empty()) view.fail("expected the name of a file, found empty text");
    return reached_from(folder, text);
}

/// Keys of a vector in a plan file: its file, axes, and the settings that are not axes.
bool is_plain_setting(const SettingField& field) {
    const auto axes = steering_axes();
    return field.key != std::string_view("alpha") &&
           std::none_of(axes.begin(), axes.end(),
                        [&](const auto& axis) { return field.key == std::string_view(axis.field); });
}

std::vector<std::string> with_axes(std::vector<std::string> keys) {
    keys.emplace_back("alphas");
    for (const SteeringAxis& axis : steering_axes()) keys.emplace_back(axis.key);
    return keys;
}

std::vector<std::string> vector_keys() {
    std::vector<std::string> keys = with_axes({"file", "gate_file"});
    for (const SettingField& field : setting_fields()) {
        if (is_plain_setting(field)) keys.emplace_back(field.key);
    }
    return keys;
}

std::vector<SweepVector> read_vectors(const JsonView& view, const fs::path& folder) {
    std::vector<SweepVector> vectors;
    for (const JsonView& item : view.items()) {
        if (item.is_text()) {
            vectors.emplace_back().setting.file = path_from(folder, item);
            continue;
        }
        item.refuse_unknown_keys(vector_keys());
        SweepVector& vector = vectors.emplace_back();
        for (const SettingField& field : setting_fields()) {
            if (is_plain_setting(field)) field.read(vector.setting, item, field.key);
        }
        vector.setting.file = path_from(folder, item.at("file"));
        if (vector.setting.gate) vector.setting.gate->file = reached_from(folder, vector.setting.gate->file);
        vector.axes = SteeringAxes::read(item);
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

SweepRequest SweepRequest::load(const fs::path& path) {
    return parse(read_text_file(path), path.string(), path.parent_path());
}

SweepRequest SweepRequest::parse(const std::string& json, const std::string& origin, const fs::path& folder) {
    const JsonDocument document(json, origin);
    const JsonView root = document.root();
    root.refuse_unknown_keys(
        with_axes({"$schema",         "model",       "prompts", "prompts_file",   "limit",      "seeds",
                   "vectors",         "duration_s",  "top_k",   "guidance_scale", "top_p",      "temperature",
                   "negative_prompt", "tempo_prior", "audio",   "sample_format",  "batch_size", "threads",
                   "device",          "kl",          "melody"}));
    SweepRequest request;
    if (const auto schema = root.find("$schema")) schema->text();
    if (const auto model = root.find("model")) request.model = path_from(folder, *model);
    if (const auto prompts = root.find("prompts")) {
        for (const JsonView& item : prompts->items()) request.prompts.push_back(item.text());
    }
    if (const auto file = root.find("prompts_file")) request.prompts_file = path_from(folder, *file);
    if (const auto limit = root.find("limit")) request.limit = limit->integer(1);
    if (const auto text = root.find("negative_prompt")) request.negative_prompt = text->text();
    if (const auto melody = root.find("melody")) request.melody = path_from(folder, *melody);
    if (const auto seeds = root.find("seeds")) request.seeds = read_seeds(*seeds);
    if (const auto vectors = root.find("vectors")) request.vectors = read_vectors(*vectors, folder);
    request.axes = SteeringAxes::read(root);
    read_sampling(root, request);
    read_run(root, request);
    return request;
}

std::vector<std::string> SweepRequest::collect_prompts() const {
    return musicsteer::collect_prompts({prompts, prompts_file, limit});
}

}  // namespace musicsteer
