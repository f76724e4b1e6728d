#include "musicsteer/study.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <tuple>

#include "input_file.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/metrics.hpp"
#include "musicsteer/preset.hpp"
#include "musicsteer/sha256.hpp"
#include "study_stage.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kLeastSeeds = 8;      // four to choose on and four to confirm on: intervals need them
constexpr std::size_t kScreeningSeeds = 4;  // of the choosing half, for layers and strategies
constexpr std::int64_t kScreenedWays = 7;   // of the strategies stage, at most
constexpr std::int64_t kStrengths = 16;     // of the strength stage, at most
constexpr int kWidenings = 4;
constexpr double kFirstPush = 0.25;  // of the mean residual norm: before anything is known
constexpr double kWidening = 1.5;
constexpr int kFormatVersion = 1;

json stamp(const char* format) {
    return {{"format", format}, {"format_version", kFormatVersion}, {"oldest_reader", kFormatVersion}};
}

/// Two digits are enough to choose by, and can be typed.
double rounded(double alpha) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2g", alpha);
    return std::strtod(text, nullptr);
}

std::vector<double> both_signs(double alpha) {
    return {-rounded(alpha), rounded(alpha)};
}

/// First half, second half; one item is both.
template <typename Value>
std::pair<std::vector<Value>, std::vector<Value>> halves(const std::vector<Value>& values) {
    if (values.size() < 2) return {values, values};
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    return {{values.begin(), middle}, {middle, values.end()}};
}

SteeringAxes way(Strategy strategy, const std::optional<std::int64_t>& source,
                 const std::optional<std::int64_t>& layer, SteeredRows rows, double alpha) {
    SteeringAxes axes;
    axes.strategies = {to_string(strategy)};
    if (source) axes.source_layers = {*source};
    if (layer) axes.layers = {std::to_string(*layer)};
    axes.rows = {to_string(rows)};
    axes.alphas = both_signs(alpha);
    return axes;
}

class Study {
  public:
    Study(const Model& model, const StudyRequest& request, const fs::path& folder,
          const StudyOptions& options)
        : model_(model), request_(request), folder_(folder), options_(options) {
        vectors_ = VectorFile::load(request.vector);
        std::tie(choosing_prompts_, confirming_prompts_) = halves(request.clips.prompts);
        std::tie(choosing_seeds_, confirming_seeds_) = halves(request.seeds);
        result_ = stamp("musicsteer-study");
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

    std::vector<std::uint64_t> screening_seeds() const {
        const std::size_t count = std::min(choosing_seeds_.size(), kScreeningSeeds);
        return {choosing_seeds_.begin(), choosing_seeds_.begin() + static_cast<std::ptrdiff_t>(count)};
    }

    StudyStage run_and_store(const StagePlan& plan) {
        StudyStage stage = run_stage(model_, request_, folder_, plan, options_);
        result_[plan.name] = stage_json(stage, plan, request_.max_kl_nats);
        return stage;
    }

    /// Each layer alone, pushed by the same share of its residual norm. False: there is nothing to push with.
    bool study_layers() {
        SteeringSpec everywhere;
        const ResolvedSteering resolved =
            resolve_steering(vectors_, everywhere, model_.manifest().decoder, request_.vector);
        StagePlan plan{"layers", {}, choosing_prompts_, screening_seeds(), {controls_.front()}};
        for (const std::int64_t layer : resolved.layers) {
            const DirectionStats& stats = vectors_.stats.at(HookPoint::at(layer, resolved.site).name());
            if (!(stats.norm > 0.0)) continue;
            const double residual = stats.mean_residual_norm > 0.0 ? stats.mean_residual_norm : stats.norm;
            plan.ways.push_back(way(Strategy::kSingle, std::nullopt, layer, SteeredRows::kBoth,
                                    kFirstPush * residual / stats.norm));
        }
        if (plan.ways.empty()) return false;
        layers_ = run_and_store(plan).ways;
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            const std::int64_t layer = layers_[i].steering.layers.front();
            const DirectionStats& stats = vectors_.stats.at(HookPoint::at(layer, resolved.site).name());
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
        StagePlan plan{"strategies", {}, choosing_prompts_, screening_seeds(), {controls_.front()}};
        const SamplingOptions sampling = sampling_options();
        const double many = std::sqrt(static_cast<double>(layers_.size()));
        double weakest = strength_of(layers_.front());
        for (const StudyWay& layer : layers_) weakest = std::min(weakest, strength_of(layer));
        const auto add = [&](Strategy strategy, const StudyWay* source, double alpha) {
            const auto layer = source ? std::optional(source->steering.layers.front()) : std::nullopt;
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
            plan.ways.push_back(way(Strategy::kOneToAll, layers_[1].steering.layers.front(), std::nullopt,
                                    SteeredRows::kBoth, strength_of(layers_[1]) / many));
        }
        return run_and_store(plan).best(request_.max_kl_nats);
    }

    SamplingOptions sampling_options() const {
        SamplingOptions sampling;
        sampling.guidance_scale =
            request_.clips.guidance_scale.value_or(model_.manifest().default_guidance_scale);
        return sampling;
    }

    static SteeringAxes axes_of(const AppliedSteering& steering, std::vector<double> alphas) {
        SteeringAxes axes;
        axes.strategies = {to_string(steering.strategy)};
        axes.layers = {layers_text(steering.layers)};
        if (steering.strategy == Strategy::kOneToAll) axes.source_layers = {*steering.source_layer};
        axes.rows = {to_string(steering.rows)};
        axes.alphas = std::move(alphas);
        return axes;
    }

    /// A ladder around the strength that should come to the cap, longer as long as its ends are usable.
    AlphaRange study_strength(const StudyWay& chosen) {
        const double cap = request_.max_kl_nats;
        double top = chosen.response.alpha_at_kl(cap);
        if (!(top > 0.0)) top = chosen.response.points.back().alpha;
        std::set<double> alphas;
        for (const double share : {0.25, 0.5, 1.0})
            for (const double alpha : both_signs(share * top)) alphas.insert(alpha);
        AlphaRange range;
        for (int round = 0; round <= kWidenings; ++round) {
            StagePlan plan{"strength",
                           {axes_of(chosen.steering, {alphas.begin(), alphas.end()})},
                           choosing_prompts_,
                           choosing_seeds_,
                           {}};
            range = usable_range(run_and_store(plan).ways.front().response, cap);
            const double low = *alphas.begin();
            const double high = *alphas.rbegin();
            if (range.low == low) alphas.insert(rounded(kWidening * low));
            if (range.high == high) alphas.insert(rounded(kWidening * high));
            if (*alphas.begin() == low && *alphas.rbegin() == high) break;
        }
        return range;
    }

    /// The one verdict, on clips that had no part in any choice.
    void confirm(const AppliedSteering& steering, const AlphaRange& range) {
        std::set<double> alphas;
        for (const double end : {range.low, range.high})
            if (end != 0.0) alphas.insert({rounded(end / 2.0), end});
        const StagePlan plan{"confirm",
                             {axes_of(steering, {alphas.begin(), alphas.end()})},
                             confirming_prompts_,
                             confirming_seeds_,
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

    void recommend(AppliedSteering steering, const AlphaRange& range) {
        steering.file = request_.vector;
        steering.alpha = range.high > 0.0 ? range.high : range.low;
        json entry = steering_json(steering);
        entry["alpha_range"] = {range.low, range.high};
        result_["recommendation"] = entry;
        result_["sentence"] =
            "it steers " + request_.measure + ": " + result_["verdict"]["reason"].get<std::string>();
        Preset preset;
        preset.model_name = model_.manifest().model_name;
        preset.weights_sha256 = model_.manifest().weights_sha256;
        preset.entries = {{steering, range.low, range.high}};
        preset.evidence = {{"command", "study"},
                           {"measure", request_.measure},
                           {"max_kl_nats", request_.max_kl_nats},
                           {"verdict", result_["verdict"]}};
        preset.save(folder_ / "preset.json", Overwrite::kAllow);
    }

    void conclude(const std::string& reason) {
        result_["sentence"] = "no setting steers " + request_.measure + ": " + reason;
    }

    const Model& model_;
    const StudyRequest& request_;
    fs::path folder_;
    const StudyOptions& options_;
    VectorFile vectors_;
    std::vector<std::string> choosing_prompts_, confirming_prompts_;
    std::vector<std::uint64_t> choosing_seeds_, confirming_seeds_;
    std::vector<std::string> controls_;
    std::vector<StudyWay> layers_;  ///< farthest reach first
    json result_;
};

json identity(const StudyRequest& request, const Manifest& manifest) {
    const SweepRequest& clips = request.clips;
    json result = stamp("musicsteer-study-request");
    const auto set = [&](const char* key, const auto& value) { result[key] = value ? json(*value) : json(); };
    result["musicsteer"] = program_version();
    result["weights_sha256"] = manifest.weights_sha256;
    result["vector_sha256"] = sha256_of_file(request.vector);
    result["measure"] = request.measure;
    result["prompts"] = clips.prompts;
    result["seeds"] = request.seeds;
    result["max_kl_nats"] = request.max_kl_nats;
    result["controls"] = request.controls;
    result["audio"] = clips.audio;
    set("duration_s", clips.duration_s);
    set("guidance_scale", clips.guidance_scale);
    set("top_k", clips.top_k);
    set("top_p", clips.top_p);
    set("temperature", clips.temperature);
    set("batch_size", clips.batch_size);
    return result;
}

}  // namespace

void StudyRequest::validate() const {
    std::vector<std::string> measures;
    for (const std::string name : kMeasureNames)
        if (name != "duration_s" && name != "sample_rate_hz") measures.push_back(name);
    if (std::find(measures.begin(), measures.end(), measure) == measures.end()) {
        std::string known;
        for (const std::string& name : measures) known += (known.empty() ? "" : ", ") + name;
        throw UsageError("unknown measure " + in_quotes(measure) + did_you_mean(measure, measures) +
                         " (measures: " + known + ")");
    }
    if (std::set(seeds.begin(), seeds.end()).size() != seeds.size())
        throw UsageError("a seed is given twice");
    if (seeds.size() < kLeastSeeds) {
        throw UsageError("expected at least " + std::to_string(kLeastSeeds) +
                         " seeds, half to choose a setting and half to confirm it, found " +
                         std::to_string(seeds.size()) + ": intervals need four a half");
    }
    if (!std::isfinite(max_kl_nats) || max_kl_nats <= 0.0)
        throw UsageError("the KL cap must be more than 0 nats");
    if (controls < 2 || controls > 1000) throw UsageError("expected 2 to 1000 random vectors");
    if (clips.prompts.empty()) throw UsageError("no prompts are given");
}

std::int64_t most_study_clips(const StudyRequest& request, std::int64_t layers) {
    const auto [choosing, confirming] = halves(request.seeds);
    const auto [few_prompts, other_prompts] = halves(request.clips.prompts);
    const std::int64_t prompts = std::ssize(few_prompts);
    const std::int64_t screened =
        prompts * static_cast<std::int64_t>(std::min(choosing.size(), kScreeningSeeds));
    return screened * (1 + 4 * layers) + screened * (1 + 4 * kScreenedWays) +
           prompts * std::ssize(choosing) * kStrengths +
           std::ssize(other_prompts) * std::ssize(confirming) * (1 + 4 * (1 + request.controls));
}

void claim_study_folder(const StudyRequest& request, const Manifest& manifest, const fs::path& folder) {
    const json wanted = identity(request, manifest);
    const fs::path file = folder / "request.json";
    std::error_code error;
    if (!fs::exists(file, error)) {
        if (fs::exists(folder, error) && !fs::is_directory(folder, error))
            throw OutputError(folder.string() + ": expected a folder, found a file");
        for (const auto& entry : fs::directory_iterator(folder, error)) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with('.')) continue;
            throw OutputError(folder.string() + ": holds " + in_quotes(name) +
                              " but no request.json, so no study of ours: choose another --out");
        }
        write_file_atomically(file, wanted.dump(2) + "\n", Overwrite::kRefuse);
        return;
    }
    const json earlier = json::parse(read_text_file(file), nullptr, false);
    for (const auto& [key, value] : wanted.items()) {
        if (earlier.is_object() && earlier.contains(key) && earlier.at(key) == value) continue;
        throw InputError(folder.string() + ": belongs to another study: " + key +
                         " differs from its request.json; choose another --out");
    }
}

VectorFile matched_random(const VectorFile& vectors, std::uint64_t seed) {
    VectorFile random = vectors;
    random.provenance.method = "random";
    random.provenance.seed = seed;
    random.provenance.concept_name = "random-" + std::to_string(seed);
    at::Generator generator = at::detail::createCPUGenerator(seed);
    for (auto& [name, direction] : random.directions) {
        const at::Tensor draw = at::randn(direction.sizes(), generator, at::TensorOptions(at::kDouble));
        const double norm = direction.to(at::kDouble).norm().item<double>();
        direction = (draw * (norm / draw.norm())).to(at::kFloat);
        random.stats[name].effect_size = 0.0;
    }
    return random;
}

json run_study(const Model& model, const StudyRequest& request, const fs::path& folder,
               const StudyOptions& options) {
    request.validate();
    return Study(model, request, folder, options).run();
}

}  // namespace musicsteer
