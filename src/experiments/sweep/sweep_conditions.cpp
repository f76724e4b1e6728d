#include "experiments/sweep/sweep_conditions.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.hpp"
#include "io/sha256.hpp"

namespace musicsteer {
namespace {

template <typename Value>
const std::vector<Value>& first_nonempty(const std::vector<Value>& own, const std::vector<Value>& common) {
    return own.empty() ? common : own;
}

/// A vector's own axes where it has them, else the sweep's.
SteeringAxes axes_of(const SweepVector& vector, const SteeringAxes& common) {
    SteeringAxes axes;
    axes.alphas = first_nonempty(vector.axes.alphas, common.alphas);
    axes.layers = first_nonempty(vector.axes.layers, common.layers);
    axes.strategies = first_nonempty(vector.axes.strategies, common.strategies);
    axes.source_layers = first_nonempty(vector.axes.source_layers, common.source_layers);
    axes.sites = first_nonempty(vector.axes.sites, common.sites);
    axes.rows = first_nonempty(vector.axes.rows, common.rows);
    axes.units = first_nonempty(vector.axes.units, common.units);
    return axes;
}

/// The values of an axis, or "not given" as its only one.
template <typename Value>
std::vector<std::optional<Value>> or_default(const std::vector<Value>& values) {
    if (values.empty()) return {std::nullopt};
    return {values.begin(), values.end()};
}

/// The conditions of one vector file.
class ConditionGrid {
  public:
    ConditionGrid(const SweepVector& vector, const SteeringAxes& axes, const Manifest& manifest)
        : file_(vector.file),
          axes_(axes),
          effect_(vector.effect),
          dims_(manifest.decoder),
          vectors_(VectorFile::load(file_)),
          sha256_(sha256_of_file(file_)) {
        vectors_.check_fits(manifest, file_);
        check_alphas();
        if (effect_.mode == SteeringMode::kClamp)
            throw UsageError(file_ + ": mode clamp has no alpha, so there is nothing to sweep");
        if (effect_.gate) load_gate(manifest);
    }

    const VectorFile& vectors() const { return vectors_; }

    void append_to(std::vector<SweepCondition>& conditions) {
        const Strategy otherwise = axes_.source_layers.empty() ? Strategy::kPerLayer : Strategy::kOneToAll;
        std::vector<Strategy> strategies;
        for (const std::string& name : axes_.strategies) strategies.push_back(parse_strategy(name));
        if (strategies.empty()) strategies.push_back(otherwise);
        const bool sources_matter = std::any_of(strategies.begin(), strategies.end(), [](Strategy strategy) {
            return strategy != Strategy::kPerLayer;
        });
        if (!axes_.source_layers.empty() && !sources_matter) {
            throw UsageError(
                "source layers make sense with strategy one-to-all or single, not with per-layer");
        }
        for (const Strategy strategy : strategies) append_strategy(strategy, conditions);
    }

  private:
    void load_gate(const Manifest& manifest) {
        Gate& gate = *effect_.gate;
        const VectorFile directions = VectorFile::load(gate.file);
        directions.check_fits(manifest, gate.file);
        gate.sha256 = sha256_of_file(gate.file);
        gate.take_direction(directions, manifest.decoder.num_layers);
    }

    void check_alphas() const {
        if (axes_.alphas.empty()) throw UsageError(file_ + ": no strength is given: --alphas -2:2:0.5");
        for (const double alpha : axes_.alphas) {
            if (!std::isfinite(alpha)) throw UsageError("alpha must be a finite number");
        }
    }

    void append_strategy(Strategy strategy, std::vector<SweepCondition>& conditions) const {
        const auto sources = strategy == Strategy::kPerLayer
                                 ? std::vector<std::optional<std::int64_t>>{std::nullopt}
                                 : or_default(axes_.source_layers);
        for (const auto& source : sources) {
            for (const auto& item : or_default(axes_.layers)) {
                for (const auto& site : or_default(axes_.sites)) {
                    SteeringSpec spec;
                    spec.alpha = 1.0;
                    spec.strategy = strategy;
                    spec.source_layer = source;
                    spec.effect = effect_;
                    if (site) spec.site = parse_site(*site);
                    for (const auto& layers : layer_sets(item, spec)) {
                        spec.layers = layers;
                        append_rows_and_units(spec, conditions);
                    }
                }
            }
        }
    }

    using Layers = std::optional<std::vector<std::int64_t>>;

    /// What an item of the layers axis stands for; nothing is the strategy's own default.
    std::vector<Layers> layer_sets(const std::optional<std::string>& item, const SteeringSpec& spec) const {
        if (!item) return {std::nullopt};
        const bool all = *item == "all";
        if (spec.strategy != Strategy::kSingle)
            return {all ? std::nullopt : Layers(parse_layers(*item, dims_.num_layers))};
        std::vector<Layers> single;
        for (const std::int64_t layer :
             all ? layers_with_vector(spec) : parse_layers(*item, dims_.num_layers))
            single.push_back(std::vector<std::int64_t>{layer});
        return single;
    }

    std::vector<std::int64_t> layers_with_vector(SteeringSpec spec) const {
        spec.strategy = Strategy::kPerLayer;
        spec.source_layer = std::nullopt;
        spec.layers = std::nullopt;
        return resolve_steering(vectors_, spec, dims_, file_).layers;
    }

    void append_rows_and_units(SteeringSpec spec, std::vector<SweepCondition>& conditions) const {
        if (spec.source_layer && *spec.source_layer >= dims_.num_layers) {
            throw UsageError("source layer " + std::to_string(*spec.source_layer) +
                             ": the model has layers 0 to " + std::to_string(dims_.num_layers - 1));
        }
        for (const auto& rows : or_default(axes_.rows)) {
            if (rows) spec.rows = parse_steered_rows(*rows);
            for (const auto& unit : or_default(axes_.units)) {
                if (unit) spec.unit = parse_alpha_unit(*unit);
                const ResolvedSteering resolved = resolve_steering(vectors_, spec, dims_, file_);
                append({AppliedSteering::of(file_, sha256_, vectors_.provenance, spec, resolved), {}},
                       conditions);
            }
        }
    }

    /// Alphas of a condition that is there already go to it.
    void append(SweepCondition condition, std::vector<SweepCondition>& conditions) const {
        const nlohmann::json key = steering_json(condition.steering);
        auto place = std::find_if(conditions.begin(), conditions.end(), [&](const SweepCondition& other) {
            return steering_json(other.steering) == key;
        });
        if (place == conditions.end()) place = conditions.insert(place, std::move(condition));
        for (const double alpha : axes_.alphas) {
            const double plain = alpha == 0.0 ? 0.0 : alpha;  // -0 is 0
            auto& alphas = place->alphas;
            if (std::find(alphas.begin(), alphas.end(), plain) == alphas.end()) alphas.push_back(plain);
        }
    }

    std::string file_;
    const SteeringAxes& axes_;
    SteeringEffect effect_;
    const DecoderDims& dims_;
    VectorFile vectors_;
    std::string sha256_;
};

}  // namespace

std::vector<SweepCondition> resolve_conditions(const SweepRequest& request, const Manifest& manifest,
                                               const std::function<void(const std::string&)>& on_warning) {
    std::vector<SweepCondition> conditions;
    for (const SweepVector& vector : request.vectors) {
        const SteeringAxes axes = axes_of(vector, request.axes);
        ConditionGrid grid(vector, axes, manifest);
        if (on_warning && !grid.vectors().same_weights(manifest)) {
            on_warning(vector.file + " was extracted from other weights (" +
                       grid.vectors().provenance.model_name + ") than this model's (" + manifest.model_name +
                       "): its directions may mean nothing here");
        }
        grid.append_to(conditions);
    }
    return conditions;
}

}  // namespace musicsteer
