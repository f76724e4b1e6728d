#include "steering/resolve.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

std::string list_of(const std::set<Site>& sites) {
    std::string text;
    for (const Site site : sites) text += (text.empty() ? "" : ", ") + to_text(site);
    return text;
}

/// Turns a setting into a plan. A class, so that the steps share their data.
class Resolver {
  public:
    Resolver(const VectorFile& vectors, const SteeringSetting& setting, const DecoderDims& dims,
             const std::optional<Gate>& gate)
        : vectors_(vectors), asked_(setting), dims_(dims), gate_(gate), num_layers_(dims.num_layers) {}

    ResolvedSteering resolve() {
        decide();
        check_numbers();
        site_ = choose_site();
        choose_heads();
        collect_layers();
        switch (strategy_) {
            case Strategy::kPerLayer:
                per_layer();
                break;
            case Strategy::kOneToAll:
                one_to_all();
                break;
            case Strategy::kSingle:
                single();
                break;
        }
        inject_all();
        return {std::move(plan_), decided()};
    }

  private:
    bool adds() const { return mode_ == SteeringMode::kAdd || mode_ == SteeringMode::kAddRenorm; }

    /// Defaults that depend only on the setting.
    void decide() {
        mode_ = asked_.mode_or_default();
        // A source layer needs a strategy that uses one, so it selects the paper's.
        strategy_ = asked_.strategy.value_or(asked_.source_layer ? Strategy::kOneToAll : Strategy::kPerLayer);
        rows_ = asked_.rows.value_or(SteeredRows::kBoth);
        unit_ = asked_.unit.value_or(AlphaUnit::kDifference);
        alpha_ = asked_.alpha.value_or(1.0);
        heads_ = asked_.heads.value_or(std::vector<std::int64_t>{});
        weights_ = asked_.weights.value_or(LayerWeights());
        course_ = {asked_.schedule.value_or(Schedule()),
                   {asked_.probability.value_or(1.0), asked_.frame_seed.value_or(0)},
                   asked_.ramp_in_s.value_or(0.0)};
        if (asked_.layers) layers_ = asked_.layers->of(num_layers_);
        if (asked_.source_layer && *asked_.source_layer >= num_layers_) {
            throw UsageError("source layer " + std::to_string(*asked_.source_layer) +
                             ": the model has layers 0 to " + std::to_string(num_layers_ - 1));
        }
    }

    void check_numbers() const {
        const bool clamps = mode_ == SteeringMode::kClamp;
        if (clamps && asked_.alpha)
            throw UsageError("mode clamp has no alpha: set value, the resulting projection on the vector");
        if (!std::isfinite(alpha_)) throw UsageError("alpha must be a finite number");
        if (clamps != asked_.value.has_value()) {
            throw UsageError(clamps ? "mode clamp needs a value, the resulting projection on the vector"
                                    : "value needs mode clamp");
        }
        if (clamps && !std::isfinite(*asked_.value)) throw UsageError("value must be a finite number");
        if (!adds() && unit_ != AlphaUnit::kDifference) {
            throw UsageError("unit " + to_text(unit_) + " has no meaning with mode " + to_text(mode_) +
                             ", which uses only the vector's direction");
        }
        if (asked_.frame_seed && !asked_.probability) throw UsageError("frame-seed needs probability");
        if (!(course_.frames.probability >= 0.0 && course_.frames.probability <= 1.0))
            throw UsageError("probability must be between 0 and 1");
        if (!std::isfinite(course_.ramp_in_s) || course_.ramp_in_s < 0.0)
            throw UsageError("ramp-in-s must be 0 or a positive number of seconds");
        if (asked_.gate && !gate_)
            throw UsageError("gate " + asked_.gate->condition() + ": its direction is not loaded");
    }

    /// The setting with every default filled in.
    SteeringSetting decided() const {
        SteeringSetting setting = asked_;
        setting.concept_name = vectors_.provenance.concept_name;
        setting.positive_label = vectors_.provenance.positive_label;
        setting.negative_label = vectors_.provenance.negative_label;
        setting.alpha = mode_ == SteeringMode::kClamp ? std::nullopt : std::optional(alpha_);
        setting.layers = LayerList{.all = false, .numbers = targets_};
        setting.source_layer = source_layer_;
        setting.strategy = strategy_;
        setting.site = site_;
        setting.rows = rows_;
        setting.unit = unit_;
        if (!course_.frames.all()) setting.frame_seed = course_.frames.seed;
        setting.drop_defaults();
        return setting;
    }

    void choose_heads() {
        if (heads_.empty()) return;
        if (site_ != Site::kSelfAttnHeads) {
            throw UsageError("heads are chosen at site self_attn_heads, and " + asked_.file + " steers " +
                             to_text(site_));
        }
        mask_ = head_mask(heads_, dims_);
    }

    Site choose_site() const {
        std::set<Site> sites;
        for (const auto& [name, vector] : vectors_.directions) {
            const HookPoint point = HookPoint::parse(name, num_layers_);
            if (point.is_layer()) sites.insert(point.site());
        }
        if (sites.empty()) throw UsageError(asked_.file + ": holds no vector of a layer");
        if (asked_.site) {
            if (sites.contains(*asked_.site)) return *asked_.site;
            throw UsageError(asked_.file + ": has no vectors for site " + to_text(*asked_.site) +
                             ", only for " + list_of(sites));
        }
        if (sites.size() > 1) {
            throw UsageError(asked_.file + ": has vectors for several sites (" + list_of(sites) +
                             "), choose one with --site");
        }
        return *sites.begin();
    }

    void collect_layers() {
        for (std::int64_t layer = 0; layer < num_layers_; ++layer) {
            if (vectors_.directions.contains(point(layer).name())) available_.push_back(layer);
        }
    }

    HookPoint point(std::int64_t layer) const { return HookPoint::at(layer, site_); }

    std::int64_t source_layer() const {
        if (asked_.source_layer) {
            require_vector(*asked_.source_layer);
            return *asked_.source_layer;
        }
        require_effect_sizes(available_, "name the source layer (--source-layer)");
        return *std::max_element(available_.begin(), available_.end(), [&](std::int64_t a, std::int64_t b) {
            return stats(a).effect_size < stats(b).effect_size;
        });
    }

    /// An effect size of 0 in a file means that it was not measured.
    void require_effect_sizes(const std::vector<std::int64_t>& layers, const std::string& instead) const {
        const auto unknown = [&](std::int64_t layer) { return stats(layer).effect_size == 0.0; };
        if (layers.size() < 2 || !std::all_of(layers.begin(), layers.end(), unknown)) return;
        throw UsageError(asked_.file + ": the file has no effect sizes to choose a layer by; " + instead);
    }

    const DirectionStats& stats(std::int64_t layer) const { return vectors_.stats.at(point(layer).name()); }

    void require_vector(std::int64_t layer) const {
        if (std::find(available_.begin(), available_.end(), layer) != available_.end()) return;
        throw UsageError(asked_.file + ": has no vector for layer " + std::to_string(layer) + " at " +
                         to_text(site_) + " (it has layers " + to_text(available_) + ")");
    }

    /// Adds the vector of layer `source` to layer `target`.
    void plan(std::int64_t source, std::int64_t target) { routes_.emplace_back(source, target); }

    void inject_all() {
        const LayerWeights& weights = weights_;
        if (!weights.is_uniform() && strategy_ == Strategy::kSingle)
            throw UsageError("weights " + weights.text() + " have no meaning with strategy single");
        std::vector<double> effect_sizes;
        std::vector<std::int64_t> targets;
        for (const auto& [source, target] : routes_) {
            if (!weights.is_uniform()) require_vector(target);  // its file entry holds the effect size
            effect_sizes.push_back(weights.is_uniform() ? 0.0 : stats(target).effect_size);
            targets.push_back(target);
        }
        if (!weights.is_uniform()) require_effect_sizes(targets, "use weights uniform");
        const std::vector<double> shares = weights.of(effect_sizes);
        for (std::size_t i = 0; i < routes_.size(); ++i) {
            if (shares[i] != 0.0) inject(routes_[i].first, routes_[i].second, shares[i]);
        }
    }

    void inject(std::int64_t source, std::int64_t target, double share) {
        at::Tensor vector = vectors_.directions.at(point(source).name());
        if (mask_.defined()) vector = vector * mask_;
        double strength = mode_ == SteeringMode::kClamp ? 1.0 : alpha_;
        if (!adds() || unit_ != AlphaUnit::kDifference) {
            const double norm = vector.norm().item<double>();
            if (norm == 0.0)
                throw UsageError(asked_.file + ": the vector of layer " + std::to_string(source) +
                                 " is zero");
            if (adds()) strength /= norm;
        }
        if (unit_ == AlphaUnit::kResidual) {
            require_vector(target);  // its file entry holds the residual norm
            const double residual = stats(target).mean_residual_norm;
            if (!(residual > 0.0)) {
                throw UsageError(asked_.file + ": unit residual needs the mean residual norm of layer " +
                                 std::to_string(target) +
                                 ", which the file does not hold (imported vectors have none): use unit " +
                                 "difference or unit");
            }
            strength *= residual;
        }
        plan_.push_back({point(target), vector, strength * share, rows_, mode_, asked_.value.value_or(0.0),
                         course_, gate_, mask_});
        targets_.push_back(target);
    }

    void per_layer() {
        if (asked_.source_layer) {
            throw UsageError("a source layer needs strategy one-to-all or single, not per-layer");
        }
        for (const std::int64_t layer : layers_.value_or(available_)) {
            require_vector(layer);
            plan(layer, layer);
        }
    }

    void one_to_all() {
        source_layer_ = source_layer();
        if (layers_) {
            for (const std::int64_t layer : *layers_) plan(*source_layer_, layer);
        } else {
            for (std::int64_t layer = 0; layer < num_layers_; ++layer) plan(*source_layer_, layer);
        }
    }

    void single() {
        if (layers_ && layers_->size() != 1) {
            throw UsageError("strategy single steers one layer, but --layers names " +
                             std::to_string(layers_->size()));
        }
        if (layers_ && !asked_.source_layer) {
            require_vector(layers_->front());
            source_layer_ = layers_->front();
        } else {
            source_layer_ = source_layer();
        }
        plan(*source_layer_, layers_ ? layers_->front() : *source_layer_);
    }

    const VectorFile& vectors_;
    const SteeringSetting& asked_;
    const DecoderDims& dims_;
    const std::optional<Gate>& gate_;
    std::int64_t num_layers_;

    SteeringMode mode_ = SteeringMode::kAdd;
    Strategy strategy_ = Strategy::kPerLayer;
    SteeredRows rows_ = SteeredRows::kBoth;
    AlphaUnit unit_ = AlphaUnit::kDifference;
    double alpha_ = 1.0;
    std::vector<std::int64_t> heads_;
    LayerWeights weights_;
    Course course_;
    std::optional<std::vector<std::int64_t>> layers_;  ///< none: the strategy's default

    Site site_ = Site::kResidPost;
    std::optional<std::int64_t> source_layer_;
    at::Tensor mask_;  ///< [D] bool, if heads are chosen
    std::vector<std::int64_t> available_;
    std::vector<std::pair<std::int64_t, std::int64_t>> routes_;  ///< source layer -> target layer
    SteeringPlan plan_;
    std::vector<std::int64_t> targets_;
};

}  // namespace

at::Tensor head_mask(const std::vector<std::int64_t>& heads, const DecoderDims& dims) {
    const at::Tensor mask = at::zeros({dims.num_heads, dims.head_size}, at::kBool);
    for (const std::int64_t head : heads) {
        if (head < 0 || head >= dims.num_heads) {
            throw UsageError("heads " + in_quotes(to_text(heads)) + ": the model has heads 0 to " +
                             std::to_string(dims.num_heads - 1));
        }
        mask[head].fill_(true);
    }
    return mask.flatten();
}

ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSetting& setting,
                                  const DecoderDims& dims, const std::optional<Gate>& gate) {
    return Resolver(vectors, setting, dims, gate).resolve();
}

}  // namespace musicsteer
