#include "steering/steering.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "base/errors.hpp"

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

/// A list of layers or heads: numbers from 0 to `count`, without it.
struct IndexList {
    const char* what;  ///< "layers"
    const std::string& text;
    std::int64_t count;
    std::string too_large;  ///< what is said of a number beyond

    [[noreturn]] void fail(const std::string& why) const {
        throw UsageError(std::string(what) + " " + in_quotes(text) + ": " + why);
    }

    std::int64_t parse_one(std::string_view item) const {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), number);
        if (error == std::errc::invalid_argument || end != item.data() + item.size())
            fail("expected numbers and ranges such as 2-5,7, or all");
        if (error == std::errc::result_out_of_range || number < 0 || number >= count) fail(too_large);
        return number;
    }

    std::vector<std::int64_t> parse() const {
        std::set<std::int64_t> numbers;
        std::size_t start = 0;
        while (start <= text.size()) {
            const std::size_t comma = std::min(text.find(',', start), text.size());
            const std::string_view item = std::string_view(text).substr(start, comma - start);
            const std::size_t dash = item.find('-', 1);
            const std::int64_t first = parse_one(item.substr(0, dash));
            const std::int64_t last =
                dash == std::string_view::npos ? first : parse_one(item.substr(dash + 1));
            if (last < first) fail("a range runs from low to high");
            for (std::int64_t number = first; number <= last; ++number) numbers.insert(number);
            start = comma + 1;
        }
        return {numbers.begin(), numbers.end()};
    }
};

std::string list_of(const std::set<Site>& sites) {
    std::string text;
    for (const Site site : sites) text += (text.empty() ? "" : ", ") + to_text(site);
    return text;
}

/// Turns one spec into a plan; a class only to share what every step needs.
class Resolver {
  public:
    Resolver(const VectorFile& vectors, const SteeringSpec& spec, const DecoderDims& dims, std::string origin)
        : vectors_(vectors),
          spec_(spec),
          dims_(dims),
          num_layers_(dims.num_layers),
          origin_(std::move(origin)) {}

    ResolvedSteering resolve() {
        check_numbers();
        result_.site = choose_site();
        choose_heads();
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
        inject_all();
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
            throw UsageError("unit " + to_text(spec_.unit) + " has no meaning with mode " +
                             to_text(spec_.effect.mode) + ", which takes the vector's direction alone");
        }
        if (!(spec_.effect.frames.probability >= 0.0 && spec_.effect.frames.probability <= 1.0))
            throw UsageError("a probability lies between 0 and 1");
        if (spec_.effect.gate && !spec_.effect.gate->direction.defined())
            throw UsageError("gate " + spec_.effect.gate->condition() + ": its direction is not loaded");
    }

    void choose_heads() {
        if (spec_.effect.heads.empty()) return;
        if (result_.site != Site::kSelfAttnHeads) {
            throw UsageError("heads are chosen at site self_attn_heads, and " + origin_ + " steers " +
                             to_text(result_.site));
        }
        mask_ = head_mask(spec_.effect.heads, dims_);
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
            throw UsageError(origin_ + ": has no vectors for site " + to_text(*spec_.site) + ", only for " +
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
        require_effect_sizes(available_, "name the source layer (--source-layer)");
        return *std::max_element(available_.begin(), available_.end(), [&](std::int64_t a, std::int64_t b) {
            return stats(a).effect_size < stats(b).effect_size;
        });
    }

    /// Files have 0 for effect sizes that nobody measured.
    void require_effect_sizes(const std::vector<std::int64_t>& layers, const std::string& instead) const {
        const auto unknown = [&](std::int64_t layer) { return stats(layer).effect_size == 0.0; };
        if (layers.size() < 2 || !std::all_of(layers.begin(), layers.end(), unknown)) return;
        throw UsageError(origin_ + ": no effect size is known, so no layer is known to be the best; " +
                         instead);
    }

    const DirectionStats& stats(std::int64_t layer) const { return vectors_.stats.at(point(layer).name()); }

    void require_vector(std::int64_t layer) const {
        if (std::find(available_.begin(), available_.end(), layer) != available_.end()) return;
        throw UsageError(origin_ + ": has no vector for layer " + std::to_string(layer) + " at " +
                         to_text(result_.site) + " (it has layers " + to_text(available_) + ")");
    }

    /// The vector of layer `source` will go into layer `target`.
    void plan(std::int64_t source, std::int64_t target) { routes_.emplace_back(source, target); }

    void inject_all() {
        const LayerWeights& weights = spec_.effect.weights;
        if (!weights.is_uniform() && spec_.strategy == Strategy::kSingle)
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
        double strength = spec_.effect.mode == SteeringMode::kClamp ? 1.0 : spec_.alpha;
        if (!adds() || spec_.unit != AlphaUnit::kDifference) {
            const double norm = vector.norm().item<double>();
            if (norm == 0.0)
                throw UsageError(origin_ + ": the vector of layer " + std::to_string(source) + " is zero");
            if (adds()) strength /= norm;
        }
        if (spec_.unit == AlphaUnit::kResidual) {
            require_vector(target);  // its file entry holds the residual norm
            const double residual = stats(target).mean_residual_norm;
            if (!(residual > 0.0)) {
                throw UsageError(origin_ + ": unit residual needs the mean residual norm of layer " +
                                 std::to_string(target) +
                                 ", which the file does not hold (imported vectors have none): use unit " +
                                 "difference or unit");
            }
            strength *= residual;
        }
        result_.plan.push_back({point(target), vector, strength * share, spec_.rows, spec_.effect, mask_});
        result_.layers.push_back(target);
    }

    void per_layer() {
        if (spec_.source_layer) {
            throw UsageError(
                "a source layer makes sense with strategy one-to-all or single, not with per-layer");
        }
        for (const std::int64_t layer : spec_.layers.value_or(available_)) {
            require_vector(layer);
            plan(layer, layer);
        }
    }

    void one_to_all() {
        result_.source_layer = source_layer();
        if (spec_.layers) {
            for (const std::int64_t layer : *spec_.layers) plan(*result_.source_layer, layer);
        } else {
            for (std::int64_t layer = 0; layer < num_layers_; ++layer) plan(*result_.source_layer, layer);
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
        plan(*result_.source_layer, spec_.layers ? spec_.layers->front() : *result_.source_layer);
    }

    const VectorFile& vectors_;
    const SteeringSpec& spec_;
    const DecoderDims& dims_;
    std::int64_t num_layers_;
    std::string origin_;
    at::Tensor mask_;  ///< [D] bool, if heads are chosen
    std::vector<std::int64_t> available_;
    std::vector<std::pair<std::int64_t, std::int64_t>> routes_;  ///< source layer -> target layer
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
std::string to_text(SteeringMode mode) {
    return name_of(kModes, mode);
}
std::string to_text(Strategy strategy) {
    return name_of(kStrategies, strategy);
}
std::string to_text(SteeredRows rows) {
    return name_of(kRows, rows);
}
std::string to_text(AlphaUnit unit) {
    return name_of(kUnits, unit);
}

std::vector<std::int64_t> parse_layers(const std::string& text, std::int64_t num_layers) {
    if (text == "all") {
        std::vector<std::int64_t> layers(static_cast<std::size_t>(num_layers));
        std::iota(layers.begin(), layers.end(), std::int64_t{0});
        return layers;
    }
    return IndexList{"layers", text, num_layers,
                     "the model has layers 0 to " + std::to_string(num_layers - 1)}
        .parse();
}

std::vector<std::int64_t> parse_heads(const std::string& text) {
    if (text == "all") return {};
    return IndexList{"heads", text, kMaxHeads, "no model has that many heads"}.parse();
}

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

std::string to_text(const std::vector<std::int64_t>& layers) {
    std::string text;
    for (const std::int64_t layer : layers)
        text.append(text.empty() ? "" : ",").append(std::to_string(layer));
    return text;
}

ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSpec& spec,
                                  const DecoderDims& dims, const std::string& origin) {
    return Resolver(vectors, spec, dims, origin).resolve();
}

bool needs_single_steps(const SteeringPlan& plan) {
    return std::any_of(plan.begin(), plan.end(), [](const Injection& injection) {
        const std::optional<Gate>& gate = injection.effect.gate;
        return gate && injection.strength != 0.0 && !gate->point.runs_before(injection.point);
    });
}

}  // namespace musicsteer
