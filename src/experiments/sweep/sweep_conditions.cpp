#include "experiments/sweep/sweep_conditions.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "musicsteer/errors.hpp"
#include "steering/applied_vector.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

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

    void append_to(std::vector<SweepCondition>& conditions, const OnWarning& on_warning) {
        bool has_warned = false;  // one setting stands for all
        for (const SteeringSetting& setting : settings()) {
            append({resolved(setting), {}}, conditions);
            if (!has_warned) has_warned = warn_of_strongest(on_warning);
        }
    }

  private:
    void check_alphas() const {
        if (axes_.alphas.empty())
            throw UsageError(vector_.setting.file + ": no strength is given: --alphas -2:2:0.5");
        for (const double alpha : axes_.alphas) {
            if (!std::isfinite(alpha)) throw UsageError("alpha must be a finite number");
        }
    }

    /// Whether the strongest alpha gave a warning, for the setting that was resolved last.
    bool warn_of_strongest(const OnWarning& on_warning) {
        vector_.setting.alpha =
            *std::max_element(axes_.alphas.begin(), axes_.alphas.end(),
                              [](double a, double b) { return std::abs(a) < std::abs(b); });
        vector_.resolve(manifest_);
        bool has_warned = false;
        warn_of_strength(vector_, [&](const std::string& message) {
            has_warned = true;
            if (on_warning) on_warning(message);
        });
        return has_warned;
    }

    /// The setting at every combination of the axes' values.
    std::vector<SteeringSetting> settings() {
        SteeringSetting first = vector_.setting;
        const bool any_source = axes_.values.contains("source_layer");
        if (!first.strategy)
            first.strategy = any_source || first.source_layer ? Strategy::kOneToAll : Strategy::kPerLayer;
        std::vector<SteeringSetting> settings = {first};
        bool source_used = false;
        for (const SteeringAxis& axis : steering_axes()) {
            std::vector<SteeringSetting> varied;
            for (const SteeringSetting& setting : settings) {
                const bool is_source = axis.field == std::string_view("source_layer");
                if (is_source && setting.strategy == Strategy::kPerLayer) {
                    varied.push_back(setting);
                    varied.back().source_layer.reset();
                    continue;
                }
                source_used = source_used || is_source;
                append_varied(axis, setting, varied);
            }
            settings = std::move(varied);
        }
        if (any_source && !source_used) {
            throw UsageError("source layers need strategy one-to-all or single, not per-layer");
        }
        return settings;
    }

    void append_varied(const SteeringAxis& axis, const SteeringSetting& setting,
                       std::vector<SteeringSetting>& varied) {
        for (const auto& value : axes_.values_or_default(axis.field)) {
            SteeringSetting with_value = setting;
            if (value) set_field(with_value, axis.field, *value);
            if (axis.field == std::string_view("layers") && value) {
                append_layers(std::move(with_value), varied);
            } else {
                varied.push_back(std::move(with_value));
            }
        }
    }

    /// Strategy single steers one layer, so a list gives one setting for each. All layers is the strategy's
    /// default.
    void append_layers(SteeringSetting setting, std::vector<SteeringSetting>& varied) {
        const LayerList chosen = *setting.layers;
        if (chosen.all) setting.layers.reset();
        if (setting.strategy != Strategy::kSingle) {
            varied.push_back(std::move(setting));
            return;
        }
        for (const std::int64_t layer :
             chosen.all ? layers_with_vector(setting) : chosen.of(manifest_.decoder.num_layers)) {
            setting.layers = LayerList{.all = false, .numbers = {layer}};
            varied.push_back(setting);
        }
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

    /// Alphas of an existing condition are added to it.
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
        SteeringAxes axes = vector.axes;
        axes.complete_with(request.axes);
        ConditionGrid grid(vector, axes, manifest);
        if (on_warning) warn_of_other_weights(grid.vector(), manifest, on_warning);
        grid.append_to(conditions, on_warning);
    }
    return conditions;
}

}  // namespace musicsteer
