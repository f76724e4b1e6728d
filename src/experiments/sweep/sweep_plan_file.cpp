// plan.json of a sweep's folder: SweepPlan <-> JSON, and the differences of two plans.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "experiments/sweep/sweep_plan.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/json_differences.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kPlanFormat{"musicsteer-sweep"};

json condition_json(const SweepCondition& condition) {
    json entry = setting_json(condition.steering);
    entry.erase("alpha");
    entry["alphas"] = condition.alphas;
    return entry;
}

/// What must not change in a folder: everything except prompts, seeds and conditions, which may grow, and
/// paths of files.
json fixed_json(const SweepPlan& plan) {
    const ClipSettings& settings = plan.settings;
    json result = kPlanFormat.stamp();
    result.update({
        {"musicsteer", settings.version},
        {"model", {{"name", settings.model_name}, {"weights_sha256", settings.weights_sha256}}},
        {"duration_s", settings.duration_s},
        {"num_frames", settings.num_frames},
        {"sample_rate_hz", settings.sample_rate_hz},
        {"sample_format", settings.sample_format},
        {"audio", plan.audio},
        {"kl", plan.kl},
        {"guidance_scale", settings.sampling.guidance_scale},
        {"top_k", settings.sampling.top_k},
        {"top_p", settings.sampling.top_p},
        {"temperature", settings.sampling.temperature},
        {"execution", execution_json(settings)},
    });
    if (plan.negative_prompt) result["negative_prompt"] = *plan.negative_prompt;
    if (!settings.melody_sha256.empty()) result["melody_sha256"] = settings.melody_sha256;
    if (settings.windows)
        result["windows"] = {{"frames", settings.windows->length}, {"stride", settings.windows->stride}};
    if (plan.tempo_prior != TempoPrior{}) result["tempo_prior"] = plan.tempo_prior.text();
    if (plan.grids != SoundGrids{}) result["grids"] = grids_json(plan.grids);
    return result;
}

json plan_json(const SweepPlan& plan) {
    json result = fixed_json(plan);
    result["model"]["path"] = plan.model_path;
    if (!plan.melody_path.empty()) result["melody"] = plan.melody_path;
    result["prompts"] = json::array();
    for (const SweepPrompt& prompt : plan.prompts)
        result["prompts"].push_back({{"text", prompt.text}, {"text_length", prompt.text_length}});
    result["seeds"] = plan.seeds;
    result["steering"] = json::array();
    for (const SweepCondition& condition : plan.conditions)
        result["steering"].push_back(condition_json(condition));
    if (plan.shard.count > 1) result["shard"] = {{"index", plan.shard.index}, {"count", plan.shard.count}};
    return result;
}

ClipSettings read_settings(const JsonView& root) {
    ClipSettings settings;
    settings.version = root.at("musicsteer").text();
    settings.model_name = root.at("model").at("name").text();
    settings.weights_sha256 = root.at("model").at("weights_sha256").text();
    settings.duration_s = root.at("duration_s").number();
    settings.num_frames = root.at("num_frames").integer(1);
    if (const auto windows = root.find("windows"))
        settings.windows = WindowShape{windows->at("frames").integer(1), windows->at("stride").integer(1)};
    if (const auto melody = root.find("melody_sha256")) settings.melody_sha256 = melody->text();
    settings.sample_rate_hz = root.at("sample_rate_hz").integer(1);
    settings.sample_format = root.at("sample_format").text();
    settings.sampling.guidance_scale = root.at("guidance_scale").number();
    settings.sampling.top_k = root.at("top_k").integer(0);
    settings.sampling.top_p = root.at("top_p").number();
    settings.sampling.temperature = root.at("temperature").number();
    const JsonView execution = root.at("execution");
    settings.batch_size = execution.at("batch_size").integer(1);
    settings.threads = execution.at("threads").integer(1);
    settings.device = execution.at("device").text();
    for (const auto& [module, precision] : execution.at("precision").members())
        settings.precision[module] = precision.text();
    return settings;
}

SweepCondition read_condition(const JsonView& view) {
    SweepCondition condition;
    condition.steering = read_setting(view, "");
    for (const char* key : {"sha256", "concept", "labels", "strategy", "layers", "site", "rows", "unit"})
        view.at(key);  // a stored plan has these
    for (const JsonView& alpha : view.at("alphas").items()) condition.alphas.push_back(alpha.number());
    return condition;
}

SweepPlan read_plan(const JsonView& root) {
    SweepPlan plan;
    plan.settings = read_settings(root);
    plan.model_path = root.at("model").at("path").text();
    for (const JsonView& prompt : root.at("prompts").items())
        plan.prompts.push_back({prompt.at("text").text(), prompt.at("text_length").integer(1)});
    if (const auto text = root.find("negative_prompt")) plan.negative_prompt = text->text();
    if (const auto melody = root.find("melody")) plan.melody_path = melody->text();
    for (const JsonView& seed : root.at("seeds").items()) plan.seeds.push_back(seed.unsigned_integer());
    for (const JsonView& view : root.at("steering").items()) plan.conditions.push_back(read_condition(view));
    if (const auto prior = root.find("tempo_prior")) plan.tempo_prior = TempoPrior::parse(prior->text());
    if (const auto grids = root.find("grids"))
        plan.grids = {grids->at("codec_frames").integer(1), grids->at("onset_hop").integer(1)};
    plan.audio = root.at("audio").boolean();
    if (const auto kl = root.find("kl")) plan.kl = kl->boolean();
    if (const auto shard = root.find("shard")) {
        plan.shard.count = shard->at("count").integer(1);
        plan.shard.index = shard->at("index").integer(1, plan.shard.count);
    }
    return plan;
}

std::string describe(const ClipSpec& clip) {
    std::string text =
        "prompt " + in_quotes(clip.prompt.value_or("")) + ", seed " + std::to_string(clip.seed);
    if (clip.steering.empty()) return text + ", unsteered";
    for (const SteeringSetting& steering : clip.steering) {
        text += ", " + steering.concept_name + " at alpha " + json(steering.alpha.value_or(1.0)).dump() +
                " (" + to_text(*steering.strategy) + ", layers " + json(steering.layers->numbers).dump() +
                ")";
    }
    return text;
}

json without_places(json plan) {
    plan["model"].erase("path");
    plan.erase("melody");
    for (json& condition : plan["steering"]) {
        condition.erase("file");
        condition.erase("gate_file");
    }
    return plan;
}

}  // namespace

std::string SweepPlan::to_json() const {
    return plan_json(*this).dump(2) + "\n";
}

SweepPlan SweepPlan::parse(const std::string& text, const std::string& origin) {
    const JsonDocument document(text, origin);
    kPlanFormat.check(document.root());
    try {
        return read_plan(document.root());
    } catch (const UsageError& error) {  // an unknown strategy, site, ...
        throw InputError(origin + ": " + error.what());
    }
}

SweepPlan SweepPlan::load(const std::filesystem::path& path) {
    return parse(read_text_file(path), path.string());
}

std::string SweepPlan::obstacle_to_extending(const SweepPlan& earlier) const {
    if (const std::string obstacle = obstacle_of_grids(earlier.grids, grids); !obstacle.empty())
        return obstacle;
    if (const std::string changes = json_differences(fixed_json(earlier), fixed_json(*this));
        !changes.empty())
        return changes;
    if (without_places(plan_json(earlier)) == without_places(plan_json(*this))) return "";
    std::set<std::string> ids;
    for (const SweepClip& clip : clips()) ids.insert(clip.id);
    std::size_t lost = 0;
    std::string example;
    for (const SweepClip& clip : earlier.clips()) {
        if (ids.contains(clip.id)) continue;
        if (lost++ == 0) example = describe(clip.spec);
    }
    if (lost == 0) return "";
    const std::string shards = shard.count == earlier.shard.count && shard.index == earlier.shard.index
                                   ? ""
                                   : "shard was " + earlier.shard.text() + " and is " + shard.text() + ", ";
    return shards + std::to_string(lost) +
           " of the folder's planned clips are no longer in the plan, such as " + example;
}

bool SweepPlan::same_but_for_shard(const SweepPlan& other) const {
    SweepPlan whole = *this;
    SweepPlan other_whole = other;
    whole.shard = other_whole.shard = {};
    return without_places(plan_json(whole)) == without_places(plan_json(other_whole));
}

}  // namespace musicsteer
