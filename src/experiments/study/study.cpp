#include "experiments/study/study.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/errors.hpp"
#include "base/numbers.hpp"
#include "directions/random_directions.hpp"
#include "experiments/study/study_split.hpp"
#include "experiments/study/study_stage.hpp"
#include "io/file_format.hpp"
#include "io/sha256.hpp"
#include "steering/resolve.hpp"
#include "steering/setting_json.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::ptrdiff_t kMaxStrengths = 7;  // on either side of 0
constexpr double kFirstPush = 0.25;          // of the mean residual norm: before anything is known
constexpr double kWidening = 1.5;

/// Two digits are enough to choose by, and can be typed.
double rounded(double alpha) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2g", alpha);
    return std::strtod(text, nullptr);
}

std::vector<double> both_signs(double alpha) {
    return {-rounded(alpha), rounded(alpha)};
}

SteeringAxes way(Strategy strategy, const std::optional<std::int64_t>& source,
                 const std::optional<std::int64_t>& layer, SteeredRows rows, double alpha) {
    SteeringAxes axes;
    axes.values["strategy"] = {to_text(strategy)};
    if (source) axes.values["source_layer"] = {std::to_string(*source)};
    if (layer) axes.values["layers"] = {std::to_string(*layer)};
    axes.values["rows"] = {to_text(rows)};
    axes.alphas = both_signs(alpha);
    return axes;
}

class Study {
  public:
    Study(const Model& model, const StudyRequest& request, const fs::path& folder,
          const StudyOptions& options)
        : model_(model), request_(request), folder_(folder), options_(options), split_(request) {
        vectors_ = VectorFile::load(request.vector);
        result_ = FileFormat{"musicsteer-study"}.stamp();
        result_["model"] = {{"name", model.manifest().model_name},
                            {"weights_sha256", model.manifest().weights_sha256}};
        result_["vector"] = {{"file", request.vector}, {"sha256", sha256_of_file(request.vector)}};
        result_["measure"] = request.measure;
        result_["max_kl_nats"] = request.max_kl_nats;
        result_["prompts_held_out"] = request.clips.prompts.size() > 1;
        result_["steers"] = false;
        result_["recommendation"] = nullptr;
    }

    json run() {
        write_controls();
        if (study_layers()) {
            const StudyWay chosen = study_strategies();
            const AlphaRange range = study_strength(chosen);
            if (range.empty()) {
                conclude("no strength moves it steadily within the KL cap");
            } else {
                confirm(chosen.steering, range);
            }
        } else {
            conclude("the vector is zero at every layer");
        }
        write_file_atomically(folder_ / "study.json", result_.dump(2) + "\n", Overwrite::kAllow);
        return result_;
    }

  private:
    void write_controls() {
        for (std::int64_t i = 0; i < request_.controls; ++i) {
            const fs::path file = folder_ / "random" / (std::to_string(i) + ".safetensors");
            matched_random(vectors_, static_cast<std::uint64_t>(i)).save(file, Overwrite::kAllow);
            controls_.push_back(file.string());
        }
    }

    StudyStage run_and_store(const StagePlan& plan) {
        StudyStage stage = run_stage(model_, request_, folder_, plan, options_);
        result_[plan.name] = stage_json(stage, plan, request_.max_kl_nats);
        return stage;
    }

    /// Each layer alone, pushed by the same share of its residual norm. False: there is nothing to push with.
    bool study_layers() {
        SteeringSetting everywhere;
        everywhere.file = request_.vector;
        const SteeringSetting resolved =
            resolve_steering(vectors_, everywhere, model_.manifest().decoder).setting;
        StagePlan plan{"layers", {}, split_.choosing_prompts, split_.screening_seeds, {controls_.front()}};
        for (const std::int64_t layer : resolved.layers->numbers) {
            const DirectionStats& stats = vectors_.stats.at(HookPoint::at(layer, *resolved.site).name());
            if (!(stats.norm > 0.0)) continue;
            const double residual = stats.mean_residual_norm > 0.0 ? stats.mean_residual_norm : stats.norm;
            plan.ways.push_back(way(Strategy::kSingle, std::nullopt, layer, SteeredRows::kBoth,
                                    kFirstPush * residual / stats.norm));
        }
        if (plan.ways.empty()) return false;
        layers_ = run_and_store(plan).ways;
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const std::int64_t layer = layers_[i].steering.layers->numbers.front();
            const DirectionStats& stats = vectors_.stats.at(HookPoint::at(layer, *resolved.site).name());
            json& entry = result_["layers"]["ways"][i];
            entry["effect_size"] = stats.effect_size;
            entry["norm"] = stats.norm;
            entry["mean_residual_norm"] = stats.mean_residual_norm;
        }
        const double cap = request_.max_kl_nats;
        std::stable_sort(layers_.begin(), layers_.end(), [&](const StudyWay& a, const StudyWay& b) {
            return a.response.reach(cap) > b.response.reach(cap);
        });
        return true;
    }

    /// Where a layer alone reaches the cap; what was tried, where it cost nothing.
    double strength_of(const StudyWay& layer) const {
        const double tried = layer.response.points.back().alpha;
        const double found = layer.response.alpha_at_kl(request_.max_kl_nats);
        return found > 0.0 ? std::clamp(found, tried / 16.0, tried * 16.0) : tried;
    }

    StudyWay study_strategies() {
        StagePlan plan{
            "strategies", {}, split_.choosing_prompts, split_.screening_seeds, {controls_.front()}};
        const SamplingOptions sampling = sampling_options();
        const double many = std::sqrt(static_cast<double>(layers_.size()));
        double weakest = strength_of(layers_.front());
        for (const StudyWay& layer : layers_) weakest = std::min(weakest, strength_of(layer));
        const auto add = [&](Strategy strategy, const StudyWay* source, double alpha) {
            const auto layer =
                source ? std::optional(source->steering.layers->numbers.front()) : std::nullopt;
            const bool single = strategy == Strategy::kSingle;
            const auto from = single ? std::nullopt : layer;
            const auto into = single ? layer : std::nullopt;
            plan.ways.push_back(way(strategy, from, into, SteeredRows::kBoth, alpha));
            if (!sampling.guided()) return;
            plan.ways.push_back(
                way(strategy, from, into, SteeredRows::kConditional, alpha / sampling.guidance_scale));
        };
        add(Strategy::kSingle, &layers_.front(), strength_of(layers_.front()));
        add(Strategy::kOneToAll, &layers_.front(), strength_of(layers_.front()) / many);
        add(Strategy::kPerLayer, nullptr, weakest / many);
        if (layers_.size() > 1) {
            plan.ways.push_back(way(Strategy::kOneToAll, layers_[1].steering.layers->numbers.front(),
                                    std::nullopt, SteeredRows::kBoth, strength_of(layers_[1]) / many));
        }
        return run_and_store(plan).best(request_.max_kl_nats);
    }

    SamplingOptions sampling_options() const {
        SamplingOptions sampling;
        sampling.guidance_scale =
            request_.clips.guidance_scale.value_or(model_.manifest().default_guidance_scale);
        return sampling;
    }

    static SteeringAxes axes_of(const SteeringSetting& steering, std::vector<double> alphas) {
        SteeringAxes axes;
        axes.values["strategy"] = {to_text(*steering.strategy)};
        axes.values["layers"] = {to_text(steering.layers->numbers)};
        if (steering.strategy == Strategy::kOneToAll) axes.values["source_layer"] = {std::to_string(*steering.source_layer)};
        axes.values["rows"] = {to_text(*steering.rows)};
        axes.alphas = std::move(alphas);
        return axes;
    }

    /// A ladder around the strength that should come to the cap, longer as long as its ends are usable.
    AlphaRange study_strength(const StudyWay& chosen) {
        const double cap = request_.max_kl_nats;
        double top = chosen.response.alpha_at_kl(cap);
        if (!(top > 0.0)) top = chosen.response.points.back().alpha;
        std::set<double> alphas = strengths_begun();
        for (const double share : {0.25, 0.5, 1.0})
            for (const double alpha : both_signs(share * top)) alphas.insert(alpha);
        for (;;) {
            const StagePlan plan{"strength",
                                 {axes_of(chosen.steering, {alphas.begin(), alphas.end()})},
                                 split_.choosing_prompts,
                                 split_.choosing_seeds,
                                 {controls_.front()}};
            const AlphaRange range = usable_range(run_and_store(plan).ways.front().response, cap);
            const auto positive = std::distance(alphas.upper_bound(0.0), alphas.end());
            const auto negative = std::ssize(alphas) - positive;
            const std::size_t before = alphas.size();
            const double low = *alphas.begin();
            const double high = *alphas.rbegin();
            if (range.low == low && negative < kMaxStrengths) alphas.insert(rounded(kWidening * low));
            if (range.high == high && positive < kMaxStrengths) alphas.insert(rounded(kWidening * high));
            if (alphas.size() == before) return range;
        }
    }

    /// Those of an interrupted run, which a sweep's plan may not lose.
    std::set<double> strengths_begun() const {
        const fs::path file = folder_ / "strength" / "plan.json";
        std::error_code error;
        if (!fs::exists(file, error)) return {};
        const std::vector<double> found = SweepPlan::load(file).conditions.front().alphas;
        std::set<double> alphas(found.begin(), found.end());
        alphas.erase(0.0);
        return alphas;
    }

    /// The one verdict, on clips that had no part in any choice.
    void confirm(const SteeringSetting& steering, const AlphaRange& range) {
        std::set<double> alphas;
        for (const double end : {range.low, range.high})
            if (end != 0.0) alphas.insert({rounded(end / 2.0), end});
        const StagePlan plan{"confirm",
                             {axes_of(steering, {alphas.begin(), alphas.end()})},
                             split_.confirming_prompts,
                             split_.confirming_seeds,
                             controls_};
        const StudyStage stage = run_and_store(plan);
        const StudyWay& way = stage.ways.front();
        const Verdict verdict = judge(way.response, way.random);
        result_["verdict"] = {{"slope", estimate_json(verdict.slope)},
                              {"random_slopes", verdict.random_slopes},
                              {"advantage", estimate_json(verdict.advantage)},
                              {"reason", verdict.reason}};
        const AlphaRange held = usable_range(way.response, request_.max_kl_nats);
        result_["steers"] = verdict.steers;
        if (verdict.steers && held.empty()) {
            result_["steers"] = false;
            conclude("on held-out clips no strength moves it steadily within the KL cap");
        } else if (verdict.steers) {
            recommend(steering, held);
        } else {
            conclude(verdict.reason);
        }
    }

    void recommend(SteeringSetting steering, const AlphaRange& range) {
        steering.file = request_.vector;
        steering.alpha = range.high > 0.0 ? range.high : range.low;
        steering.alpha_range = range;
        json entry = setting_json(steering);
        entry["alpha_range"] = {range.low, range.high};
        result_["recommendation"] = entry;
        result_["sentence"] =
            "it steers " + request_.measure + ": " + result_["verdict"]["reason"].get<std::string>();
        SteeringFile file;
        file.program_version = program_version();
        file.model_name = model_.manifest().model_name;
        file.weights_sha256 = model_.manifest().weights_sha256;
        file.settings = {steering};
        file.evidence = {{"command", "study"},
                         {"measure", request_.measure},
                         {"max_kl_nats", request_.max_kl_nats},
                         {"verdict", result_["verdict"]}};
        file.save(folder_ / "steering.json", Overwrite::kAllow);
    }

    void conclude(const std::string& reason) {
        result_["sentence"] = "no setting steers " + request_.measure + ": " + reason;
    }

    const Model& model_;
    const StudyRequest& request_;
    fs::path folder_;
    const StudyOptions& options_;
    VectorFile vectors_;
    StudySplit split_;
    std::vector<std::string> controls_;
    std::vector<StudyWay> layers_;  ///< farthest reach first
    json result_;
};

}  // namespace

json run_study(const Model& model, const StudyRequest& request, const fs::path& folder,
               const StudyOptions& options) {
    request.validate();
    return Study(model, request, folder, options).run();
}

}  // namespace musicsteer
