#include "experiments/study/study_json.hpp"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "experiments/clip_record.hpp"
#include "experiments/measure_target.hpp"
#include "io/atomic_file.hpp"
#include "io/file_format.hpp"
#include "steering/setting_json.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kStudyFormat{"musicsteer-study", 2, 2};

json finite_or_null(double value) {
    return std::isfinite(value) ? json(value) : json();
}

json or_null(const std::optional<double>& value) {
    return value ? json(*value) : json();
}

const char* unit_name(ClusterUnit unit) {
    return unit == ClusterUnit::kPrompts ? "prompts" : "seeds";
}

json estimate_json(const Estimate& estimate) {
    return {{"value", finite_or_null(estimate.value)},
            {"low", finite_or_null(estimate.low)},
            {"high", finite_or_null(estimate.high)},
            {"units", estimate.units}};
}

json clips_json(const StageClips& clips) {
    return {{"planned", clips.planned},
            {"made", clips.made},
            {"overflowed", clips.overflowed},
            {"failed", clips.failed},
            {"unmeasured", clips.unmeasured}};
}

json way_json(const StudyWay& way, double max_kl_nats) {
    json entry = setting_json(way.steering);
    for (const char* name : {"alpha", "file", "sha256", "concept", "labels"}) entry.erase(name);
    entry["points"] = json::array();
    for (const DosePoint& point : way.response.points) {
        entry["points"].push_back({{"alpha", point.alpha},
                                   {"change", estimate_json(point.mean())},
                                   {"kl_nats", finite_or_null(point.kl_nats)},
                                   {"clips", point.clips},
                                   {"overflowed", point.overflowed},
                                   {"unmeasured", point.unmeasured},
                                   {"usable", point.is_usable()}});
    }
    entry["slope"] = estimate_json(way.response.slope());
    entry["alpha_at_max_kl"] = way.response.alpha_at_kl(max_kl_nats);
    entry["effect"] = estimate_json(way.response.effect(max_kl_nats));
    return entry;
}

json ways_json(const std::vector<StudyWay>& ways, double max_kl_nats) {
    json list = json::array();
    for (const StudyWay& way : ways) list.push_back(way_json(way, max_kl_nats));
    return list;
}

json stage_json(const StudyStage& stage, double max_kl_nats) {
    json random = json::array();
    for (std::size_t i = 1; i < stage.vectors.size(); ++i)
        random.push_back(ways_json(stage.vectors[i], max_kl_nats));
    return {{"folder", stage.name},
            {"prompts", stage.prompts},
            {"seeds", stage.seeds},
            {"clips", clips_json(stage.clips)},
            {"unsteered_mean", finite_or_null(stage.unsteered_mean)},
            {"ways", ways_json(stage.vectors.front(), max_kl_nats)},
            {"random", std::move(random)}};
}

json verdict_json(const Verdict& verdict) {
    return {{"steers", verdict.steers()},
            {"alpha", verdict.alpha},
            {"effect", estimate_json(verdict.effect)},
            {"over", unit_name(verdict.unit)},
            {"sign", verdict.sign},
            {"random_effects", verdict.controls},
            {"random_left_out", verdict.controls_left_out},
            {"bound", or_null(verdict.bound)},
            {"level", kStudyLevel},
            {"detectable", or_null(verdict.detectable)},
            {"power", kStudyPower},
            {"times_as_many_clips", or_null(verdict.more_clips)}};
}

StageClips all_clips(const Study& study) {
    StageClips all;
    for (const StudyStage* stage : study.stages()) {
        all.planned += stage->clips.planned;
        all.made += stage->clips.made;
        all.overflowed += stage->clips.overflowed;
        all.failed += stage->clips.failed;
        all.unmeasured += stage->clips.unmeasured;
    }
    return all;
}

std::string signed_change(const Study& study, double change) {
    return change_text(change, study.request.measure);
}

std::string short_text(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
}

std::string effect_text(const Study& study) {
    const Estimate& effect = study.verdict->effect;
    return signed_change(study, effect.value) + " [" + signed_change(study, effect.low) + ", " +
           signed_change(study, effect.high) + "] at alpha " + short_text(study.verdict->alpha);
}

/// The bound that a vector must exceed, in its direction.
std::string bound_text(const Study& study) {
    return signed_change(study, study.verdict->sign * *study.verdict->bound);
}

std::string unconfirmed_reason(const Study& study) {
    const Verdict& verdict = *study.verdict;
    switch (verdict.reason) {
        case VerdictReason::kHoldsZero:
            return "the interval of its effect, " + effect_text(study) + ", includes zero";
        case VerdictReason::kLikeRandom:
            return "its effect is " + effect_text(study) +
                   ", and by chance alone a random vector could reach " + bound_text(study);
        default:
            return "on held-out clips it moves the measure in the opposite direction: " + effect_text(study);
    }
}

std::string not_judged(const Study& study) {
    if (study.end == StudyEnd::kClipsFailed) {
        const StudyStage& stage = *study.stages().back();
        return std::to_string(stage.clips.failed) + " of " + std::to_string(stage.clips.planned) +
               " clips of " + stage.name + " could not be made (" + stage.failure +
               "); run the same command to try again";
    }
    if (study.verdict->reason == VerdictReason::kFewControls) {
        return "held-out clips of " + std::to_string(study.verdict->controls_left_out) + " of " +
               std::to_string(study.request.controls) +
               " random vectors overflowed or can't be measured, and fewer than " +
               std::to_string(kMinControls) + " are left";
    }
    return "too many of the vector's held-out clips overflowed or can't be measured";
}

bool is_judged(const Study& study) {
    if (study.end == StudyEnd::kClipsFailed) return false;
    return !study.verdict || study.verdict->bound.has_value();
}

}  // namespace

std::string study_sentence(const Study& study) {
    const std::string measure = short_measure_name(study.request.measure);
    if (!is_judged(study)) return "not judged: " + not_judged(study);
    switch (study.end) {
        case StudyEnd::kSteers:
            return "it steers " + measure + ": " + effect_text(study) + ", beyond the " + bound_text(study) +
                   " that a random vector could reach by chance";
        case StudyEnd::kNoSteadyStrength:
            return "it moves " + measure + ", " + effect_text(study) +
                   ", but on held-out clips no strength does so steadily within the KL cap";
        case StudyEnd::kNullVector:
            return "no setting steers " + measure + ": the vector is zero at every layer";
        default:
            return "no setting steers " + measure + ": " + unconfirmed_reason(study);
    }
}

std::string study_advice(const Study& study) {
    if (study.end == StudyEnd::kSteers || study.end == StudyEnd::kNullVector || !study.verdict) return "";
    const Verdict& verdict = *study.verdict;
    if (!is_judged(study))
        return "use a lower --max-kl if clips overflow, longer clips if they cannot be measured";
    if (study.end == StudyEnd::kNoSteadyStrength) return "use more seeds or prompts, or a higher --max-kl";
    const std::string found = "an effect of " + change_text(*verdict.detectable, study.request.measure) +
                              " would have been found 4 times in 5";
    if (verdict.more_clips) {
        const auto seeds = static_cast<std::size_t>(
            std::ceil(*verdict.more_clips * static_cast<double>(study.request.seeds.size())));
        return found + "; if the effect is as large as it looked, about " + std::to_string(seeds) +
               " seeds in place of " + std::to_string(study.request.seeds.size()) +
               " would decide, or more prompts in proportion";
    }
    return found +
           "; more seeds would not change this verdict: try another vector (extract --method), "
           "measure, or a higher --max-kl";
}

json study_json(const Study& study) {
    const double cap = study.request.max_kl_nats;
    json result = kStudyFormat.stamp();
    result["model"] = {{"name", study.model_name}, {"weights_sha256", study.weights_sha256}};
    result["vector"] = {{"file", study.request.vector}, {"sha256", study.vector_sha256}};
    result["measure"] = study.request.measure;
    result["changes"] =
        change_scale(study.request.measure) == ChangeScale::kLogRatio ? "log ratios" : "differences";
    result["max_kl_nats"] = cap;
    result["prompts_held_out"] = study.prompts_held_out();
    result["clips"] = clips_json(all_clips(study));
    if (study.layers) result["layers"] = stage_json(*study.layers, cap);
    for (std::size_t i = 0; study.layers && i < study.tried_layers.size(); ++i) {
        const DirectionStats& stats = study.tried_layers[i].stats;
        json& entry = result["layers"]["ways"][i];
        entry["effect_size"] = stats.effect_size;
        entry["norm"] = stats.norm;
        entry["mean_residual_norm"] = stats.mean_residual_norm;
    }
    if (study.strategies) result["strategies"] = stage_json(*study.strategies, cap);
    if (study.strength) result["strength"] = stage_json(*study.strength, cap);
    if (study.confirm) result["confirm"] = stage_json(*study.confirm, cap);
    if (study.verdict) result["verdict"] = verdict_json(*study.verdict);
    result["steers"] = study.end == StudyEnd::kSteers;
    result["sentence"] = study_sentence(study);
    result["advice"] = study_advice(study);
    result["recommendation"] = nullptr;
    if (study.recommendation) result["recommendation"] = recommended_json(*study.recommendation);
    return result;
}

void save_study(const Study& study, const std::filesystem::path& folder) {
    write_file_atomically(folder / "study.json", study_json(study).dump(2) + "\n", Overwrite::kAllow);
    if (!study.recommendation) return;
    SteeringFile file;
    file.program_version = program_version();
    file.model_name = study.model_name;
    file.weights_sha256 = study.weights_sha256;
    file.settings = {*study.recommendation};
    file.evidence = {{"command", "study"},
                     {"measure", study.request.measure},
                     {"max_kl_nats", study.request.max_kl_nats},
                     {"verdict", verdict_json(*study.verdict)}};
    file.save(folder / "steering.json", Overwrite::kAllow);
}

}  // namespace musicsteer
