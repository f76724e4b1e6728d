#include "musicsteer/steering.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

template <typename Value, std::size_t N>
using Names = std::array<std::pair<const char*, Value>, N>;

constexpr Names<SteeringMode, 4> kModes = {{{"add", SteeringMode::kAdd},
                                            {"add-renorm", SteeringMode::kAddRenorm},
                                            {"ablate", SteeringMode::kAblate},
                                            {"clamp", SteeringMode::kClamp}}};
constexpr Names<Strategy, 3> kStrategies = {
    {{"per-layer", Strategy::kPerLayer}, {"one-to-all", Strategy::kOneToAll}, {"single", Strategy::kSingle}}};
constexpr Names<SteeredRows, 2> kRows = {
    {{"both", SteeredRows::kBoth}, {"conditional", SteeredRows::kConditional}}};
constexpr Names<AlphaUnit, 3> kUnits = {
    {{"difference", AlphaUnit::kDifference}, {"unit", AlphaUnit::kUnit}, {"residual", AlphaUnit::kResidual}}};

template <typename Value, std::size_t N>
Value parse_name(const Names<Value, N>& names, const std::string& name, const std::string& what) {
    std::vector<std::string> known;
    for (const auto& [text, value] : names) {
        if (name == text) return value;
        known.emplace_back(text);
    }
    std::string list;
    for (const std::string& text : known) list += (list.empty() ? "" : ", ") + text;
    throw UsageError("unknown " + what + " " + in_quotes(name) + " (known: " + list + ")" +
                     did_you_mean(name, known));
}

template <typename Value, std::size_t N>
std::string name_of(const Names<Value, N>& names, Value value) {
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const auto& pair) { return pair.second == value; });
    return found->first;
}

std::int64_t parse_layer(std::string_view text, const std::string& whole, std::int64_t num_layers) {
    std::int64_t layer = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
    if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
        throw UsageError("layers " + in_quotes(whole) +
                         ": expected numbers and ranges such as 2-5,7, or all");
    }
    if (error == std::errc::result_out_of_range || layer < 0 || layer >= num_layers) {
        throw UsageError("layers " + in_quotes(whole) + ": the model has layers 0 to " +
                         std::to_string(num_layers - 1));
    }
    return layer;
}

std::string list_of(const std::set<Site>& sites) {
    std::string text;
    for (const Site site : sites) text += (text.empty() ? "" : ", ") + site_name(site);
    return text;
}

/// Turns one spec into a plan; a class only to share what every step needs.
class Resolver {
  public:
    Resolver(const VectorFile& vectors, const SteeringSpec& spec, std::int64_t num_layers, std::string origin)
        : vectors_(vectors), spec_(spec), num_layers_(num_layers), origin_(std::move(origin)) {}

    ResolvedSteering resolve() {
        check_numbers();
        result_.site = choose_site();
        collect_layers();
        switch (spec_.strategy) {
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
        return std::move(result_);
    }

  private:
    bool adds() const {
        return spec_.effect.mode == SteeringMode::kAdd || spec_.effect.mode == SteeringMode::kAddRenorm;
    }

    void check_numbers() const {
        const bool clamps = spec_.effect.mode == SteeringMode::kClamp;
        if (!std::isfinite(spec_.alpha)) throw UsageError("alpha must be a finite number");
        if (clamps != spec_.effect.value.has_value()) {
            throw UsageError(clamps ? "mode clamp needs a value: where the projection on the vector goes"
                                    : "a value makes sense with mode clamp only");
        }
        if (clamps && !std::isfinite(*spec_.effect.value)) throw UsageError("value must be a finite number");
        if (!adds() && spec_.unit != AlphaUnit::kDifference) {
            throw UsageError("unit " + to_string(spec_.unit) + " has no meaning with mode " +
                             to_string(spec_.effect.mode) + ", which takes the vector's direction alone");
        }
        if (!(spec_.effect.frames.probability >= 0.0 && spec_.effect.frames.probability <= 1.0))
            throw UsageError("a probability lies between 0 and 1");
    }

    Site choose_site() const {
        std::set<Site> sites;
        for (const auto& [name, vector] : vectors_.directions) {
            const HookPoint point = HookPoint::parse(name, num_layers_);
            if (point.is_layer()) sites.insert(point.site());
        }
        if (sites.empty()) throw UsageError(origin_ + ": holds no vector of a layer");
        if (spec_.site) {
            if (sites.contains(*spec_.site)) return *spec_.site;
            throw UsageError(origin_ + ": has no vectors for site " + site_name(*spec_.site) + ", only for " +
                             list_of(sites));
        }
        if (sites.size() > 1) {
            throw UsageError(origin_ + ": has vectors for several sites (" + list_of(sites) +
                             "), choose one with --site");
        }
        return *sites.begin();
    }

    void collect_layers() {
        for (std::int64_t layer = 0; layer < num_layers_; ++layer) {
            if (vectors_.directions.contains(point(layer).name())) available_.push_back(layer);
        }
    }

    HookPoint point(std::int64_t layer) const { return HookPoint::at(layer, result_.site); }

    std::int64_t source_layer() const {
        if (spec_.source_layer) {
            require_vector(*spec_.source_layer);
            return *spec_.source_layer;
        }
        return *std::max_element(available_.begin(), available_.end(), [&](std::int64_t a, std::int64_t b) {
            return stats(a).effect_size < stats(b).effect_size;
        });
    }

    const DirectionStats& stats(std::int64_t layer) const { return vectors_.stats.at(point(layer).name()); }

    void require_vector(std::int64_t layer) const {
        if (std::find(available_.begin(), available_.end(), layer) != available_.end()) return;
        throw UsageError(origin_ + ": has no vector for layer " + std::to_string(layer) + " at " +
                         site_name(result_.site) + " (it has layers " + layers_text(available_) + ")");
    }

    void inject(std::int64_t source, std::int64_t target) {
        const at::Tensor& vector = vectors_.directions.at(point(source).name());
        double strength = spec_.effect.mode == SteeringMode::kClamp ? 1.0 : spec_.alpha;
        if (!adds() || spec_.unit != AlphaUnit::kDifference) {
            const double norm = vector.norm().item<double>();
            if (norm == 0.0)
                throw UsageError(origin_ + ": the vector of layer " + std::to_string(source) + " is zero");
            if (adds()) strength /= norm;
        }
        if (spec_.unit == AlphaUnit::kResidual) {
            require_vector(target);  // its file entry holds the residual norm
            strength *= stats(target).mean_residual_norm;
        }
        result_.plan.push_back({point(target), vector, strength, spec_.rows, spec_.effect});
        result_.layers.push_back(target);
    }

    void per_layer() {
        if (spec_.source_layer) {
            throw UsageError(
                "a source layer makes sense with strategy one-to-all or single, not with per-layer");
        }
        for (const std::int64_t layer : spec_.layers.value_or(available_)) {
            require_vector(layer);
            inject(layer, layer);
        }
    }

    void one_to_all() {
        result_.source_layer = source_layer();
        if (spec_.layers) {
            for (const std::int64_t layer : *spec_.layers) inject(*result_.source_layer, layer);
        } else {
            for (std::int64_t layer = 0; layer < num_layers_; ++layer) inject(*result_.source_layer, layer);
        }
    }

    void single() {
        if (spec_.layers && spec_.layers->size() != 1) {
            throw UsageError("strategy single steers one layer, but --layers names " +
                             std::to_string(spec_.layers->size()));
        }
        if (spec_.layers && !spec_.source_layer) {
            require_vector(spec_.layers->front());
            result_.source_layer = spec_.layers->front();
        } else {
            result_.source_layer = source_layer();
        }
        inject(*result_.source_layer, spec_.layers ? spec_.layers->front() : *result_.source_layer);
    }

    const VectorFile& vectors_;
    const SteeringSpec& spec_;
    std::int64_t num_layers_;
    std::string origin_;
    std::vector<std::int64_t> available_;
    ResolvedSteering result_;
};

}  // namespace

SteeringMode parse_steering_mode(const std::string& name) {
    return parse_name(kModes, name, "mode");
}
Strategy parse_strategy(const std::string& name) {
    return parse_name(kStrategies, name, "strategy");
}
SteeredRows parse_steered_rows(const std::string& name) {
    return parse_name(kRows, name, "rows");
}
AlphaUnit parse_alpha_unit(const std::string& name) {
    return parse_name(kUnits, name, "unit");
}
std::string to_string(SteeringMode mode) {
    return name_of(kModes, mode);
}
std::string to_string(Strategy strategy) {
    return name_of(kStrategies, strategy);
}
std::string to_string(SteeredRows rows) {
    return name_of(kRows, rows);
}
std::string to_string(AlphaUnit unit) {
    return name_of(kUnits, unit);
}

std::vector<std::int64_t> parse_layers(const std::string& text, std::int64_t num_layers) {
    std::set<std::int64_t> layers;
    if (text == "all") {
        for (std::int64_t layer = 0; layer < num_layers; ++layer) layers.insert(layer);
        return {layers.begin(), layers.end()};
    }
    std::size_t start = 0;
    while (start <= text.size()) {
        const std::size_t comma = std::min(text.find(',', start), text.size());
        const std::string_view item = std::string_view(text).substr(start, comma - start);
        const std::size_t dash = item.find('-', 1);
        const std::int64_t first = parse_layer(item.substr(0, dash), text, num_layers);
        const std::int64_t last =
            dash == std::string_view::npos ? first : parse_layer(item.substr(dash + 1), text, num_layers);
        if (last < first) throw UsageError("layers " + in_quotes(text) + ": a range runs from low to high");
        for (std::int64_t layer = first; layer <= last; ++layer) layers.insert(layer);
        start = comma + 1;
    }
    return {layers.begin(), layers.end()};
}

std::string layers_text(const std::vector<std::int64_t>& layers) {
    std::string text;
    for (const std::int64_t layer : layers) text += (text.empty() ? "" : ",") + std::to_string(layer);
    return text;
}

ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSpec& spec,
                                  std::int64_t num_layers, const std::string& origin) {
    return Resolver(vectors, spec, num_layers, origin).resolve();
}

}  // namespace musicsteer
