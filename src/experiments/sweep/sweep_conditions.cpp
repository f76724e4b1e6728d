#include "experiments/sweep/sweep_conditions.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.hpp"
#include "steering/applied_vector.hpp"
#include "steering/setting_json.hpp"

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
        : vector_(AppliedVector::load(vector.setting)), axes_(axes), manifest_(manifest) {
        vector_.setting.alpha.reset();  // an axis
        vector_.vectors.check_fits(manifest, vector_.setting.file);
        check_alphas();
        if (vector_.setting.mode == SteeringMode::kClamp)
            throw UsageError(vector_.setting.file +
                             ": mode clamp has no alpha, so there is nothing to sweep");
    }

    const AppliedVector& vector() const { return vector_; }

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
    void check_alphas() const {
        if (axes_.alphas.empty())
            throw UsageError(vector_.setting.file + ": no strength is given: --alphas -2:2:0.5");
        for (const double alpha : axes_.alphas) {
            if (!std::isfinite(alpha)) throw UsageError("alpha must be a finite number");
        }
    }

    void append_strategy(Strategy strategy, std::vector<SweepCondition>& conditions) {
        const auto sources = strategy == Strategy::kPerLayer
                                 ? std::vector<std::optional<std::int64_t>>{std::nullopt}
                                 : or_default(axes_.source_layers);
        for (const auto& source : sources) {
            for (const auto& item : or_default(axes_.layers)) {
                for (const auto& site : or_default(axes_.sites)) {
                    SteeringSetting setting = vector_.setting;
                    setting.strategy = strategy;
                    setting.source_layer = source;
                    if (site) setting.site = parse_site(*site);
                    for (const auto& layers : layer_sets(item, setting)) {
                        setting.layers = layers;
                        append_rows_and_units(setting, conditions);
                    }
                }
            }
        }
    }

    using Layers = std::optional<LayerList>;

    /// What an item of the layers axis stands for; nothing is the strategy's own default.
    std::vector<Layers> layer_sets(const std::optional<std::string>& item, const SteeringSetting& setting) {
        if (!item) return {std::nullopt};
        const bool all = *item == "all";
        if (setting.strategy != Strategy::kSingle)
            return {all ? std::nullopt : Layers(LayerList::parse(*item))};
        std::vector<Layers> single;
        for (const std::int64_t layer :
             all ? layers_with_vector(setting) : parse_layers(*item, manifest_.decoder.num_layers))
            single.push_back(LayerList{.all = false, .numbers = {layer}});
        return single;
    }

    SteeringSetting resolved(const SteeringSetting& setting) {
        vector_.setting = setting;
        vector_.resolve(manifest_);
        return vector_.resolved.setting;
    }

    std::vector<std::int64_t> layers_with_vector(SteeringSetting setting) {
        setting.strategy = Strategy::kPerLayer;
        setting.source_layer = std::nullopt;
        setting.layers = std::nullopt;
        return resolved(setting).layers->numbers;
    }

    void append_rows_and_units(SteeringSetting setting, std::vector<SweepCondition>& conditions) {
        for (const auto& rows : or_default(axes_.rows)) {
            if (rows) setting.rows = parse_steered_rows(*rows);
            for (const auto& unit : or_default(axes_.units)) {
                if (unit) setting.unit = parse_alpha_unit(*unit);
                append({resolved(setting), {}}, conditions);
            }
        }
    }

    /// Alphas of a condition that is there already go to it.
    void append(SweepCondition condition, std::vector<SweepCondition>& conditions) const {
        const nlohmann::json key = setting_json(condition.steering);
        auto place = std::find_if(conditions.begin(), conditions.end(), [&](const SweepCondition& other) {
            return setting_json(other.steering) == key;
        });
        if (place == conditions.end()) place = conditions.insert(place, std::move(condition));
        for (const double alpha : axes_.alphas) {
            const double plain = alpha == 0.0 ? 0.0 : alpha;  // -0 is 0
            auto& alphas = place->alphas;
            if (std::find(alphas.begin(), alphas.end(), plain) == alphas.end()) alphas.push_back(plain);
        }
    }

    AppliedVector vector_;
    const SteeringAxes& axes_;
    const Manifest& manifest_;
};

}  // namespace

std::vector<SweepCondition> resolve_conditions(const SweepRequest& request, const Manifest& manifest,
                                               const std::function<void(const std::string&)>& on_warning) {
    std::vector<SweepCondition> conditions;
    for (const SweepVector& vector : request.vectors) {
        const SteeringAxes axes = axes_of(vector, request.axes);
        ConditionGrid grid(vector, axes, manifest);
        if (on_warning) warn_of_other_weights(grid.vector(), manifest, on_warning);
        grid.append_to(conditions);
    }
    return conditions;
}

}  // namespace musicsteer
