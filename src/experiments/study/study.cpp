#include "experiments/study/study.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <system_error>

#include "base/numbers.hpp"
#include "directions/random_directions.hpp"
#include "experiments/measure_target.hpp"
#include "experiments/study/study_split.hpp"
#include "experiments/study/study_stage.hpp"
#include "io/atomic_file.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "steering/applied_vector.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

constexpr std::ptrdiff_t kMaxStrengths = 7;  // on either side of 0
constexpr double kFirstPush = 0.25;          // of the mean residual norm, as a first guess
constexpr double kWidening = 1.5;
constexpr int kDigits = 2;  // enough to choose by, and short enough to type

std::vector<double> both_signs(double alpha) {
    const double rounded = rounded_to_digits(alpha, kDigits);
    return {-rounded, rounded};
}

class StudyRun {
  public:
    StudyRun(const Model& model, const StudyRequest& request, const fs::path& folder,
             const StudyOptions& options)
        : model_(model), folder_(folder), options_(options), split_(request), cap_(request.max_kl_nats) {
        study_.request = request;
        study_.model_name = model.manifest().model_name;
        study_.weights_sha256 = model.manifest().weights_sha256;
        study_.vector_sha256 = sha256_of_file(request.vector);
    }

    Study run() {
        load_vectors();
        find_layers();
        if (study_.tried_layers.empty()) return conclude(StudyEnd::kNullVector);
        if (!run_stage_of(study_.layers, layer_stage())) return conclude(StudyEnd::kClipsFailed);
        if (!run_stage_of(study_.strategies, strategy_stage())) return conclude(StudyEnd::kClipsFailed);
        choices_ = choose_ways(responses(*study_.strategies), cap_);
        note_what_can_be_found();
        AlphaRange range;
        if (!find_range(range)) return conclude(StudyEnd::kClipsFailed);
        if (!run_stage_of(study_.confirm, confirm_stage(range))) return conclude(StudyEnd::kClipsFailed);
        return judge_confirmed();
    }

  private:
    Study conclude(StudyEnd end) {
        study_.end = end;
        return std::move(study_);
    }

    /// The vector, then the random ones.
    void load_vectors() {
        SteeringSetting setting;
        setting.file = study_.request.vector;
        vectors_.push_back(AppliedVector::load(setting));
        for (std::int64_t i = 0; i < study_.request.controls; ++i) {
            const fs::path file = folder_ / "random" / (std::to_string(i) + ".safetensors");
            matched_random(vectors_.front().vectors, static_cast<std::uint64_t>(i))
                .save(file, Overwrite::kAllow);
            setting.file = file.string();
            vectors_.push_back(AppliedVector::load(setting));
        }
    }

    /// Layers tried alone: those with a vector that is not zero.
    void find_layers() {
        AppliedVector& vector = vectors_.front();
        vector.resolve(model_.manifest());
        const SteeringSetting& everywhere = vector.resolved.setting;
        std::vector<std::int64_t> layers;
        for (const std::int64_t layer : everywhere.layers->numbers)
            if (stats_of(layer).norm > 0.0) layers.push_back(layer);
        num_layers_ = static_cast<double>(layers.size());
        for (const std::int64_t layer : layers_to_try(layers))
            study_.tried_layers.push_back({layer, stats_of(layer)});
    }

    const DirectionStats& stats_of(std::int64_t layer) const {
        const AppliedVector& vector = vectors_.front();
        return vector.vectors.stats.at(HookPoint::at(layer, *vector.resolved.setting.site).name());
    }

    /// False: clips failed, and nothing can be concluded.
    bool run_stage_of(std::optional<StudyStage>& stage, const StagePlan& plan) {
        stage = run_stage(model_, study_.request, folder_, plan, options_);
        return stage->clips.failed == 0;
    }

    SweepCondition condition(std::size_t vector, Strategy strategy, std::optional<std::int64_t> layer,
                             SteeredRows rows, std::vector<double> alphas) const {
        AppliedVector applied = vectors_[vector];  // tensors are shared
        applied.setting.strategy = strategy;
        if (strategy == Strategy::kOneToAll) applied.setting.source_layer = layer;
        if (strategy == Strategy::kSingle) applied.setting.layers = LayerList{.numbers = {*layer}};
        applied.setting.rows = rows;
        applied.resolve(model_.manifest());
        return {applied.resolved.setting, std::move(alphas)};
    }

    StagePlan screening_stage(const std::string& name) const {
        return {name, split_.screening_prompts, split_.screening_seeds, {}};
    }

    /// Each layer alone, with the same share of its residual norm.
    StagePlan layer_stage() const {
        StagePlan plan = screening_stage("layers");
        for (std::size_t i = 0; i < vectors_.size(); ++i) {
            std::vector<SweepCondition>& ways = plan.vectors.emplace_back();
            for (const auto& [layer, stats] : study_.tried_layers) {
                const double residual =
                    stats.mean_residual_norm > 0.0 ? stats.mean_residual_norm : stats.norm;
                ways.push_back(condition(i, Strategy::kSingle, layer, SteeredRows::kBoth,
                                         both_signs(kFirstPush * residual / stats.norm)));
            }
        }
        return plan;
    }

    /// The norm that a way adds at alpha 1, as a share of the activations' norms. Guidance multiplies what is
    /// added to the conditional rows alone.
    double push_of(const SteeringSetting& way) const {
        double squares = 0.0;
        for (const std::int64_t layer : way.layers->numbers) {
            const bool own = *way.strategy == Strategy::kPerLayer;
            const double norm = stats_of(own ? layer : *way.source_layer).norm;
            const double residual = stats_of(layer).mean_residual_norm;
            squares += std::pow(residual > 0.0 ? norm / residual : norm, 2);
        }
        const SamplingOptions sampling = sampling_of(study_.request.clips, model_.manifest());
        const bool is_amplified = sampling.guided() && *way.rows == SteeredRows::kConditional;
        return std::sqrt(squares) * (is_amplified ? sampling.guidance_scale : 1.0);
    }

    std::vector<std::vector<WayResponse>> responses(const StudyStage& stage) const {
        std::vector<std::vector<WayResponse>> result;
        for (const std::vector<StudyWay>& ways : stage.vectors) {
            std::vector<WayResponse>& of_vector = result.emplace_back();
            for (const StudyWay& way : ways) of_vector.push_back({way.response, push_of(way.steering)});
        }
        return result;
    }

    /// The layer where each vector has the largest effect at the cap, its vector in all layers, and each
    /// layer's own vector, all at about the cap.
    StagePlan strategy_stage() const {
        StagePlan plan = screening_stage("strategies");
        const std::vector<std::vector<WayResponse>> of_layers = responses(*study_.layers);
        for (std::size_t i = 0; i < vectors_.size(); ++i)
            plan.vectors.push_back(strategies_of(i, of_layers[i]));
        return plan;
    }

    /// With the largest effect at the cap.
    std::size_t strongest(const std::vector<WayResponse>& ways) const {
        const auto reach = [&](const WayResponse& way) {
            const double effect = way.response.effect(cap_).value;
            return std::isfinite(effect) ? std::abs(effect) : 0.0;
        };
        return static_cast<std::size_t>(std::ranges::max_element(ways, {}, reach) - ways.begin());
    }

    std::vector<SweepCondition> strategies_of(std::size_t vector,
                                              const std::vector<WayResponse>& of_layers) const {
        std::vector<SweepCondition> ways;
        const SamplingOptions sampling = sampling_of(study_.request.clips, model_.manifest());
        const auto add = [&](Strategy strategy, const std::optional<std::int64_t>& layer, double alpha) {
            ways.push_back(condition(vector, strategy, layer, SteeredRows::kBoth, both_signs(alpha)));
            if (!sampling.guided()) return;
            ways.push_back(condition(vector, strategy, layer, SteeredRows::kConditional,
                                     both_signs(alpha / sampling.guidance_scale)));
        };
        const std::size_t best = strongest(of_layers);
        const std::int64_t layer = study_.tried_layers[best].layer;
        const double alone = of_layers[best].response.next_alpha(cap_);
        double weakest = alone;
        for (const WayResponse& of_layer : of_layers)
            weakest = std::min(weakest, of_layer.response.next_alpha(cap_));
        const double many = std::sqrt(num_layers_);
        add(Strategy::kSingle, layer, alone);
        add(Strategy::kOneToAll, layer, alone / many);
        add(Strategy::kPerLayer, std::nullopt, weakest / many);
        return ways;
    }

    const StudyWay& chosen(std::size_t vector) const {
        return study_.strategies->vectors[vector][choices_[vector].way];
    }

    void note_what_can_be_found() const {
        const double spread = chosen(0).response.pair_spread(cap_);
        if (!options_.on_note || !std::isfinite(spread)) return;
        const std::size_t pairs = held_out_pairs(study_.request);
        const double found =
            spread * detectable_spread(pairs, held_out_units(study_.request), vectors_.size() - 1);
        options_.on_note("changes of " + change_text(found, study_.request.measure, /*with_sign=*/false) +
                         " at the KL cap would be found 4 times in 5 on " + std::to_string(pairs) +
                         " held-out pairs of clips, half of that on four times as many, unless random "
                         "vectors move the measure too");
    }

    /// A ladder of strengths of the vector alone, around the one that should reach the cap, extended while
    /// its ends are usable. False: clips failed.
    bool find_range(AlphaRange& range) {
        std::set<double> alphas = strengths_begun();
        for (const double share : {0.25, 0.5, 1.0})
            for (const double alpha : both_signs(share * choices_.front().alpha)) alphas.insert(alpha);
        for (;;) {
            const SweepCondition way{chosen(0).steering, {alphas.begin(), alphas.end()}};
            const StagePlan plan{"strength", split_.choosing_prompts, split_.choosing_seeds, {{way}}};
            if (!run_stage_of(study_.strength, plan)) return false;
            range = usable_range(study_.strength->vectors.front().front().response, cap_);
            const auto positive = std::distance(alphas.upper_bound(0.0), alphas.end());
            const auto negative = std::ssize(alphas) - positive;
            const std::size_t before = alphas.size();
            const auto wider = [](double end) { return rounded_to_digits(kWidening * end, kDigits); };
            const double low = *alphas.begin();
            const double high = *alphas.rbegin();
            if (range.low == low && negative < kMaxStrengths) alphas.insert(wider(low));
            if (range.high == high && positive < kMaxStrengths) alphas.insert(wider(high));
            if (alphas.size() == before) return true;
        }
    }

    /// Strengths of an interrupted run, which a sweep's plan must keep.
    std::set<double> strengths_begun() const {
        const fs::path file = folder_ / "strength" / "plan.json";
        std::error_code error;
        if (!fs::exists(file, error)) return {};
        const std::vector<double> found = SweepPlan::load(file).conditions.front().alphas;
        std::set<double> alphas(found.begin(), found.end());
        alphas.erase(0.0);
        return alphas;
    }

    /// Every vector in the way and at the strength chosen for it, on held-out clips; the studied one also at
    /// the ends of its range and halfway.
    StagePlan confirm_stage(const AlphaRange& range) const {
        StagePlan plan{"confirm", split_.confirming_prompts, split_.confirming_seeds, {}};
        for (std::size_t i = 0; i < vectors_.size(); ++i) {
            const std::vector<double> judged = both_signs(choices_[i].alpha);
            std::set<double> alphas(judged.begin(), judged.end());
            for (const double end : {range.low, range.high})
                if (i == 0 && end != 0.0) alphas.insert({rounded_to_digits(end / 2.0, kDigits), end});
            plan.vectors.push_back({{chosen(i).steering, {alphas.begin(), alphas.end()}}});
        }
        return plan;
    }

    Study judge_confirmed() {
        std::vector<HeldOutResponse> held_out;
        for (std::size_t i = 0; i < vectors_.size(); ++i) {
            const StudyWay& way = study_.confirm->vectors[i].front();
            HeldOutResponse of_vector{way.response.at(both_signs(choices_[i].alpha)), push_of(way.steering),
                                      choices_[i]};
            of_vector.choice.alpha = rounded_to_digits(choices_[i].alpha, kDigits);  // as used
            held_out.push_back(std::move(of_vector));
        }
        study_.verdict = judge(held_out.front(), std::span(held_out).subspan(1));
        if (!study_.verdict->steers()) return conclude(StudyEnd::kNotConfirmed);
        const StudyWay& way = study_.confirm->vectors.front().front();
        const AlphaRange range = usable_range(way.response, cap_);
        if (range.empty()) return conclude(StudyEnd::kNoSteadyStrength);
        SteeringSetting steering = way.steering;
        steering.alpha = range.high > 0.0 ? range.high : range.low;
        steering.alpha_range = range;
        study_.recommendation = std::move(steering);
        return conclude(StudyEnd::kSteers);
    }

    const Model& model_;
    fs::path folder_;
    const StudyOptions& options_;
    StudySplit split_;
    double cap_;
    std::vector<AppliedVector> vectors_;  ///< the studied one first
    double num_layers_ = 0.0;             ///< with a vector
    std::vector<WayChoice> choices_;      ///< [vector] among its strategies
    Study study_;
};

}  // namespace

std::vector<const StudyStage*> Study::stages() const {
    std::vector<const StudyStage*> reached;
    for (const auto* stage : {&layers, &strategies, &strength, &confirm})
        if (*stage) reached.push_back(&**stage);
    return reached;
}

Study run_study(const Model& model, const StudyRequest& request, const fs::path& folder,
                const StudyOptions& options) {
    request.validate();
    return StudyRun(model, request, folder, options).run();
}

}  // namespace musicsteer
