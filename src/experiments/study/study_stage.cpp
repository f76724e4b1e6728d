#include "experiments/study/study_stage.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "io/sha256.hpp"
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
    std::vector<std::string> files{request.vector};
    files.insert(files.end(), stage.controls.begin(), stage.controls.end());
    for (const std::string& file : files) {
        for (SteeringAxes axes : stage.ways) {
            axes.alphas.insert(axes.alphas.begin(), 0.0);
            SweepVector& vector = sweep.vectors.emplace_back();
            vector.setting.file = file;
            vector.axes = std::move(axes);
        }
    }
    PlanOptions options;
    options.device = sweep.device.value_or("cpu");
    options.memory = default_memory(model.manifest(), available_memory());
    return make_sweep_plan(sweep, model.manifest(), model.tokenizer, options);
}

using Place = std::pair<std::string, std::uint64_t>;  // prompt, seed

/// What the records of a folder say about one measure.
class Measured {
  public:
    Measured(const SweepFolder& folder, const std::string& measure) {
        for (const SweepClip& clip : folder.clips()) {
            const auto record = folder.records().find(clip.id);
            if (record == folder.records().end()) continue;
            const json parsed = json::parse(record->second);
            const json& value = parsed.at("measures").at(measure);
            const Place place{clip.spec.prompt.value_or(""), clip.spec.seed};
            if (clip.spec.steering.empty()) {
                if (value.is_number()) unsteered_[place] = value.get<double>();
                continue;
            }
            const SteeringSetting& steering = clip.spec.steering.front();
            Point& point = points_[key(steering)][*steering.alpha];
            point.kl.push_back(parsed.at("kl_nats").get<double>());
            if (value.is_number()) point.values[place] = value.get<double>();
        }
    }

    DoseResponse response(const SweepCondition& condition, const std::string& sha256) const {
        SteeringSetting steering = condition.steering;
        steering.sha256 = sha256;
        const auto found = points_.find(key(steering));
        std::vector<double> alphas = condition.alphas;
        std::sort(alphas.begin(), alphas.end());
        DoseResponse response;
        for (const double alpha : alphas) {
            if (alpha == 0.0) continue;
            DosePoint point;
            point.alpha = alpha;
            point.kl_nats = std::numeric_limits<double>::infinity();
            if (found != points_.end() && found->second.contains(alpha)) fill(point, found->second.at(alpha));
            response.points.push_back(std::move(point));
        }
        return response;
    }

    double unsteered_mean() const {
        std::vector<double> values;
        for (const auto& [place, value] : unsteered_) values.push_back(value);
        return values.empty() ? std::numeric_limits<double>::quiet_NaN() : mean(values);
    }

  private:
    struct Point {
        std::map<Place, double> values;
        std::vector<double> kl;
    };

    static std::string key(const SteeringSetting& steering) {
        json entry = setting_json(steering);
        for (const char* name : {"alpha", "file", "concept", "labels"}) entry.erase(name);
        return entry.dump();
    }

    void fill(DosePoint& point, const Point& measured) const {
        point.kl_nats = mean(measured.kl);
        std::map<std::uint64_t, std::vector<double>> changes;
        for (const auto& [place, value] : measured.values) {
            const auto plain = unsteered_.find(place);
            if (plain != unsteered_.end()) changes[place.second].push_back(value - plain->second);
        }
        for (const auto& [seed, of_seed] : changes) point.change[seed] = mean(of_seed);
    }

    std::map<Place, double> unsteered_;
    std::map<std::string, std::map<double, Point>> points_;
};

json finite_or_null(double value) {
    return std::isfinite(value) ? json(value) : json();
}

json response_json(const DoseResponse& response) {
    json points = json::array();
    for (const DosePoint& point : response.points) {
        points.push_back({{"alpha", point.alpha},
                          {"change", estimate_json(point.mean())},
                          {"kl_nats", finite_or_null(point.kl_nats)}});
    }
    return points;
}

}  // namespace

const StudyWay& StudyStage::best(double max_kl) const {
    return *std::max_element(ways.begin(), ways.end(), [&](const StudyWay& a, const StudyWay& b) {
        return a.response.reach(max_kl) < b.response.reach(max_kl);
    });
}

StudyStage run_stage(const Model& model, const StudyRequest& request, const std::filesystem::path& folder,
                     const StagePlan& plan, const StudyOptions& options) {
    SweepFolder sweep(folder / plan.name, sweep_plan(model, request, plan), options.on_message);
    SweepOptions sweep_options;
    sweep_options.on_message = options.on_message;
    sweep_options.stop = options.stop;
    sweep_options.on_progress = [&](const SweepProgress& progress) {
        if (options.on_progress) options.on_progress(plan.name, progress);
    };
    run_sweep(model, sweep, sweep_options);
    const Measured measured(sweep, request.measure);
    const std::string vector_sha256 = sha256_of_file(request.vector);
    std::vector<std::string> control_sha256;
    for (const std::string& file : plan.controls) control_sha256.push_back(sha256_of_file(file));
    StudyStage stage;
    stage.unsteered_mean = measured.unsteered_mean();
    for (const SweepCondition& condition : sweep.plan().conditions) {
        if (condition.steering.sha256 != vector_sha256) continue;
        StudyWay way{condition.steering, measured.response(condition, vector_sha256), {}};
        for (const std::string& sha256 : control_sha256)
            way.random.push_back(measured.response(condition, sha256));
        stage.ways.push_back(std::move(way));
    }
    return stage;
}

json estimate_json(const Estimate& estimate) {
    return {{"value", finite_or_null(estimate.value)},
            {"low", finite_or_null(estimate.low)},
            {"high", finite_or_null(estimate.high)},
            {"seeds", estimate.units}};
}

json stage_json(const StudyStage& stage, const StagePlan& plan, double max_kl) {
    json ways = json::array();
    for (const StudyWay& way : stage.ways) {
        json entry = setting_json(way.steering);
        for (const char* name : {"alpha", "file", "sha256", "concept", "labels"}) entry.erase(name);
        entry["points"] = response_json(way.response);
        entry["slope"] = estimate_json(way.response.slope());
        entry["alpha_at_max_kl"] = way.response.alpha_at_kl(max_kl);
        entry["reach"] = way.response.reach(max_kl);
        entry["random"] = json::array();
        for (const DoseResponse& random : way.random)
            entry["random"].push_back(
                {{"slope", estimate_json(random.slope())}, {"points", response_json(random)}});
        ways.push_back(std::move(entry));
    }
    return {{"folder", plan.name},
            {"prompts", plan.prompts},
            {"seeds", plan.seeds},
            {"unsteered_mean", finite_or_null(stage.unsteered_mean)},
            {"ways", std::move(ways)}};
}

}  // namespace musicsteer
