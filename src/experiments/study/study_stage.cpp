#include "experiments/study/study_stage.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "experiments/measure_target.hpp"
#include "model/memory.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

SweepPlan sweep_plan(const Model& model, const StudyRequest& request, const StagePlan& stage) {
    SweepRequest sweep = request.clips;
    sweep.prompts = stage.prompts;
    sweep.prompts_file.clear();
    sweep.limit = 0;
    sweep.seeds = stage.seeds;
    sweep.kl = true;
    PlanOptions options;
    options.device = sweep.device.value_or("cpu");
    options.memory = default_memory(model.manifest(), available_memory(model.bundle.device()));
    SweepPlan plan = make_sweep_plan(sweep, model.manifest(), model.tokenizer, options);
    for (const std::vector<SweepCondition>& ways : stage.vectors) {
        for (SweepCondition condition : ways) {
            condition.alphas.insert(condition.alphas.begin(), 0.0);
            plan.conditions.push_back(std::move(condition));
        }
    }
    return plan;
}

/// A way of steering with its vector, without the strength.
std::string key_of(const SteeringSetting& steering) {
    json entry = setting_json(steering);
    for (const char* name : {"alpha", "file", "concept", "labels"}) entry.erase(name);
    return entry.dump();
}

/// Results of the clips of one strength.
struct MeasuredPoint {
    std::map<ClipPair, double> values;  ///< of the measure, if it is defined
    std::vector<double> kl;             ///< of all that were made
    std::size_t overflowed = 0;
};

/// A stage folder's data on one measure.
class Measured {
  public:
    Measured(const SweepFolder& folder, const SweepOutcome& outcome, const std::string& measure,
             const std::vector<std::string>& prompts)
        : scale_(change_scale(measure)) {
        for (std::size_t i = 0; i < prompts.size(); ++i) prompts_[prompts[i]] = i;
        std::map<std::string, const MissingClip*> missing;
        for (const MissingClip& clip : outcome.missing) missing[clip.id] = &clip;
        counts_.planned = folder.clips().size();
        for (const SweepClip& clip : folder.clips()) {
            const auto lost = missing.find(clip.id);
            if (lost == missing.end()) {
                take(clip, folder.records().at(clip.id), measure);
            } else if (lost->second->overflowed && !clip.spec.steering.empty()) {
                ++point(clip.spec.steering.front()).overflowed;
                ++counts_.overflowed;
            } else {
                if (counts_.failed++ == 0) reason_ = lost->second->reason;
            }
        }
    }

    const StageClips& counts() const { return counts_; }
    const std::string& reason() const { return reason_; }

    DoseResponse response(const SweepCondition& condition) {
        std::vector<double> alphas = condition.alphas;
        std::sort(alphas.begin(), alphas.end());
        DoseResponse response;
        for (const double alpha : alphas) {
            SteeringSetting steering = condition.steering;
            steering.alpha = alpha;
            response.points.push_back(dose_point(alpha, point(steering)));
        }
        return response;
    }

    double unsteered_mean() const {
        std::vector<double> values;
        for (const auto& [pair, value] : unsteered_) values.push_back(value);
        return values.empty() ? std::numeric_limits<double>::quiet_NaN() : mean(values);
    }

  private:
    MeasuredPoint& point(const SteeringSetting& steering) {
        return points_[key_of(steering)][*steering.alpha];
    }

    void take(const SweepClip& clip, const std::string& line, const std::string& measure) {
        const json record = json::parse(line);
        const json& value = record.at("measures").at(measure);
        // A ratio with 0 is undefined.
        const bool is_defined =
            value.is_number() && (scale_ == ChangeScale::kDifference || value.get<double>() > 0.0);
        const ClipPair pair{prompts_.at(clip.spec.prompt.value_or("")), clip.spec.seed};
        if (!is_defined) ++counts_.unmeasured;
        ++counts_.made;
        if (clip.spec.steering.empty()) {
            if (is_defined) unsteered_[pair] = value.get<double>();
            return;
        }
        MeasuredPoint& of_strength = point(clip.spec.steering.front());
        of_strength.kl.push_back(record.at("kl_nats").get<double>());
        if (is_defined) of_strength.values[pair] = value.get<double>();
    }

    DosePoint dose_point(double alpha, const MeasuredPoint& measured) const {
        DosePoint point;
        point.alpha = alpha;
        point.overflowed = measured.overflowed;
        point.clips = measured.kl.size() + measured.overflowed;
        point.kl_nats = measured.overflowed > 0 || measured.kl.empty()
                            ? std::numeric_limits<double>::infinity()
                            : mean(measured.kl);
        for (const auto& [pair, value] : measured.values) {
            const auto plain = unsteered_.find(pair);
            if (plain != unsteered_.end()) point.change[pair] = change_of(plain->second, value, scale_);
        }
        point.unmeasured = measured.kl.size() - point.change.size();
        return point;
    }

    ChangeScale scale_;
    std::map<std::string, std::size_t> prompts_;  ///< -> place
    std::map<ClipPair, double> unsteered_;
    std::map<std::string, std::map<double, MeasuredPoint>> points_;  ///< by way and alpha
    StageClips counts_;
    std::string reason_;
};

}  // namespace

StudyStage run_stage(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                     const StagePlan& plan, const StudyOptions& options) {
    SweepFolder sweep(folder / plan.name, sweep_plan(model, request, plan), options.on_message);
    SweepOptions sweep_options;
    std::size_t failures = 0;
    sweep_options.on_message = [&](const std::string& message) {
        if (++failures == 1 && options.on_message) options.on_message(message);  // the others are counted
    };
    sweep_options.stop = options.stop;
    sweep_options.measure_command = options.measure_command;
    sweep_options.on_progress = [&](const SweepProgress& progress) {
        if (options.on_progress) options.on_progress(plan.name, progress);
    };
    const SweepOutcome outcome = run_sweep(model, sweep, sweep_options);
    Measured measured(sweep, outcome, request.measure, plan.prompts);
    StudyStage stage;
    stage.name = plan.name;
    stage.prompts = plan.prompts;
    stage.seeds = plan.seeds;
    stage.unsteered_mean = measured.unsteered_mean();
    stage.clips = measured.counts();
    stage.failure = measured.reason();
    for (const std::vector<SweepCondition>& ways : plan.vectors) {
        std::vector<StudyWay>& of_vector = stage.vectors.emplace_back();
        for (const SweepCondition& condition : ways)
            of_vector.push_back({condition.steering, measured.response(condition)});
    }
    return stage;
}

}  // namespace musicsteer
