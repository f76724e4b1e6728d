#include "calibrate_report.hpp"

#include <cmath>
#include <cstdio>

#include "base/numbers.hpp"
#include "experiments/calibrate/pair_comparison.hpp"

namespace musicsteer::cli {

using nlohmann::json;

namespace {

std::string shortest(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

/// What is being done, for people; "edge" and the others are the names in JSON.
std::string stage_text(const std::string& stage) {
    if (stage == "edge") return "finding the range";
    if (stage == "ladder") return "measuring";
    if (stage == "refine") return "refining";
    return stage;
}

std::string list_of(const std::vector<double>& strengths) {
    std::string text;
    for (const double strength : strengths) {
        if (!text.empty()) text += ", ";
        text += shortest(strength);
    }
    return text;
}

std::string signed_percent(double share, const char* unit = "") {
    char text[48];
    std::snprintf(text, sizeof text, "%+.1f%s", 100.0 * share, unit);
    return text;
}

/// "+14.4 % [+9.6, +18.9]" for a change, "120.3 [114.9, 125.0]" for a value.
std::string achieved(const MeasureTarget& target, const TargetOutcome& outcome) {
    if (!target.is_relative) {
        if (!outcome.value.has_interval()) return shortest(outcome.value.value) + " (no interval)";
        return shortest(outcome.value.value) + " [" + shortest(outcome.value.low) + ", " +
               shortest(outcome.value.high) + "]";
    }
    if (!outcome.change.has_interval()) return signed_percent(outcome.change.value, " %") + " (no interval)";
    return signed_percent(outcome.change.value, " %") + " [" + signed_percent(outcome.change.low) + ", " +
           signed_percent(outcome.change.high) + "]";
}

std::string tolerance_text(const MeasureTarget& target, const CalibrationOptions& options) {
    if (target.is_in_decibels()) return shortest(options.tolerance * target.scale(0.0)) + " dB";
    return shortest(100.0 * options.tolerance) + " points";
}

const char* status_text(TargetStatus status) {
    switch (status) {
        case TargetStatus::kMet:
            return "met";
        case TargetStatus::kUnsure:
            return "too uncertain to be met";
        case TargetStatus::kMissed:
            break;
    }
    return "not met";
}

json finite_or_null(double value) {
    return std::isfinite(value) ? json(value) : json();
}

json estimate_json(const Estimate& estimate) {
    return {{"value", finite_or_null(estimate.value)},
            {"low", finite_or_null(estimate.low)},
            {"high", finite_or_null(estimate.high)}};
}

json outcome_json(const MeasureTarget& target, const TargetOutcome& outcome,
                  const CalibrationOptions& options) {
    return {{"target", target.text},
            {"measure", target.measure},
            {"unsteered", outcome.unsteered},
            {"wanted", outcome.wanted},
            {"value", estimate_json(outcome.value)},
            {"change", estimate_json(outcome.change)},
            {"undefined_pairs", outcome.undefined},
            {"met", status_of(outcome, options.tolerance) == TargetStatus::kMet},
            {"unsure", status_of(outcome, options.tolerance) == TargetStatus::kUnsure}};
}

json outcomes_json(const CalibrationStep& step, const CalibrationSetup& setup) {
    json list = json::array();
    for (std::size_t i = 0; i < step.outcomes.size(); ++i)
        list.push_back(outcome_json(setup.targets[i], step.outcomes[i], setup.options));
    return list;
}

json pairs_json(const CalibrationSetup& setup, PairRange pairs, const std::vector<std::string>& prompts) {
    const std::uint64_t first = setup.first_seed + pairs.first;
    return {{"pairs", pairs.count}, {"seeds", {first, first + pairs.count - 1}}, {"prompts", prompts}};
}

json evidence_json(const Calibration& found, const CalibrationSetup& setup) {
    const CalibrationOptions& options = setup.options;
    return {{"command", "calibrate"},
            {"targets", outcomes_json(found.checked, setup)},
            {"kl_nats", estimate_json(found.checked_kl)},
            {"max_kl_nats", options.max_kl},
            {"tolerance", options.tolerance},
            {"search", pairs_json(setup, found.searched.pairs, setup.search_prompts)},
            {"check", found.reachable ? pairs_json(setup, found.checked.pairs, setup.check_prompts) : json()},
            {"settings", settings_json(setup)}};
}

json steps_json(const Calibration& found, const CalibrationSetup& setup) {
    json steps = json::array();
    for (const CalibrationStep& step : found.steps) {
        steps.push_back({{"stage", step.stage},
                         {"alphas", step.strengths},
                         {"pairs", step.pairs.count},
                         {"kl_nats", step.kl_nats},
                         {"targets", outcomes_json(step, setup)}});
    }
    return steps;
}

}  // namespace

json settings_json(const CalibrationSetup& setup) {
    const ClipSettings& clips = setup.clips;
    json settings = {{"duration_s", clips.duration_s},
                     {"guidance_scale", clips.sampling.guidance_scale},
                     {"top_k", clips.sampling.top_k},
                     {"top_p", clips.sampling.top_p},
                     {"temperature", clips.sampling.temperature},
                     {"batch_size", clips.batch_size},
                     {"threads", clips.threads},
                     {"device", clips.device},
                     {"tempo_prior", setup.tempo_prior.text()}};
    if (!setup.measure_command.empty()) settings["measure_command"] = setup.measure_command;
    if (setup.negative_prompt) settings["negative_prompt"] = *setup.negative_prompt;
    if (!clips.melody_sha256.empty()) settings["melody_sha256"] = clips.melody_sha256;
    return settings;
}

SteeringFile calibration_file(const Calibration& found, const CalibrationSetup& setup,
                              const std::vector<AppliedVector>& vectors) {
    SteeringFile file;
    file.program_version = program_version();
    file.model_name = setup.clips.model_name;
    file.weights_sha256 = setup.clips.weights_sha256;
    for (std::size_t j = 0; j < vectors.size(); ++j) {
        SteeringSetting& setting = file.settings.emplace_back(vectors[j].resolved.setting);
        setting.alpha = found.strengths[j];
        setting.alpha_range = AlphaRange{found.ranges[j].first, found.ranges[j].second};
    }
    file.evidence = evidence_json(found, setup);
    return file;
}

json calibration_json(const Calibration& found, const CalibrationSetup& setup,
                      const std::vector<AppliedVector>& vectors, const std::optional<std::string>& written) {
    json steering = json::array();
    for (const SteeringSetting& setting : calibration_file(found, setup, vectors).settings)
        steering.push_back(recommended_json(setting));
    return {{"met", found.met},
            {"unsure", found.unsure},
            {"reachable", found.reachable},
            {"alphas", found.strengths},
            {"steering", std::move(steering)},
            {"searched", outcomes_json(found.searched, setup)},
            {"evidence", evidence_json(found, setup)},
            {"steps", steps_json(found, setup)},
            {"steering_file", written ? json(*written) : json()}};
}

void print_calibration(std::ostream& out, const Calibration& found, const CalibrationSetup& setup,
                       const std::vector<AppliedVector>& vectors) {
    for (std::size_t j = 0; j < vectors.size(); ++j) {
        out << vectors[j].setting.file << "  alpha " << shortest(found.strengths[j]) << "  ("
            << (vectors.size() > 1 ? "alone, " : "") << shortest(found.ranges[j].first) << " to "
            << shortest(found.ranges[j].second) << " stay within the cap)\n";
    }
    const CalibrationStep& step = found.reachable ? found.checked : found.searched;
    for (std::size_t i = 0; i < step.outcomes.size(); ++i) {
        const MeasureTarget& target = setup.targets[i];
        const TargetOutcome& outcome = step.outcomes[i];
        out << target.text << "  " << shortest(outcome.unsteered) << " -> " << shortest(outcome.value.value)
            << ", " << achieved(target, outcome) << ", "
            << status_text(status_of(outcome, setup.options.tolerance)) << " within "
            << tolerance_text(target, setup.options) << '\n';
    }
    out << "cost  " << shortest(step.kl_nats) << " nats a code, cap " << shortest(setup.options.max_kl)
        << '\n';
    const bool held_out = found.reachable;
    const std::uint64_t first = setup.first_seed + step.pairs.first;
    out << "on  " << step.pairs.count
        << (held_out ? " held-out pairs of clips" : " pairs of clips of the search") << ", seeds " << first
        << " to " << first + step.pairs.count - 1 << ", "
        << counted((held_out ? setup.check_prompts : setup.search_prompts).size(), "prompt") << '\n';
}

std::string calibration_warning(const Calibration& found, const CalibrationSetup& setup) {
    for (std::size_t i = 0; found.met && i < found.checked.outcomes.size(); ++i) {
        const double width = half_width(found.checked.outcomes[i]);
        if (width <= setup.options.tolerance) continue;
        return setup.targets[i].text + ": the interval is wider than the tolerance of " +
               tolerance_text(setup.targets[i], setup.options) +
               ", so the target may be met by chance; more pairs (--max-pairs, --check-pairs) narrow it";
    }
    return "";
}

std::string calibration_failure(const Calibration& found, const CalibrationSetup& setup) {
    const CalibrationStep& step = found.reachable ? found.checked : found.searched;
    std::string came_to;
    for (std::size_t i = 0; i < step.outcomes.size(); ++i) {
        if (!came_to.empty()) came_to += ", ";
        came_to += setup.targets[i].text + " came to " + achieved(setup.targets[i], step.outcomes[i]);
    }
    const std::string at =
        " at alpha " + list_of(step.strengths) + ", for " + shortest(step.kl_nats) + " nats a code";
    if (!found.reachable) {
        return "not reachable within " + shortest(setup.options.max_kl) + " nats a code: at the nearest, " +
               came_to + at + "; raise --max-kl, or steer other layers or rows; no steering file was written";
    }
    if (found.unsure) {
        return "too uncertain: on held-out clips " + came_to + at +
               ", and the interval is too wide to tell; use more pairs (--pairs, --check-pairs, "
               "--max-pairs) or a larger --tolerance; no steering file was written";
    }
    return "found in the search, but not confirmed: on held-out clips " + came_to + at +
           "; more pairs (--pairs, --max-pairs) make the search more precise; no steering file was written";
}

std::string step_text(const CalibrationStep& step, const std::vector<MeasureTarget>& targets) {
    std::string text = stage_text(step.stage) + ": alpha " + list_of(step.strengths) + ": ";
    for (std::size_t i = 0; i < step.outcomes.size(); ++i)
        text += short_measure_name(targets[i].measure) + " " +
                signed_percent(step.outcomes[i].change.value, " %") + ", ";
    return text + shortest(step.kl_nats) + " nats (" + std::to_string(step.pairs.count) + " pairs)";
}

}  // namespace musicsteer::cli
