#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "directions/vector_file.hpp"
#include "model/hooks.hpp"
#include "model/manifest.hpp"
#include "steering/gate.hpp"
#include "steering/layer_weights.hpp"
#include "steering/schedule.hpp"

namespace musicsteer {

/// How the vectors of a file are spread over layers.
enum class Strategy {
    kPerLayer,  ///< each chosen layer gets its own vector
    kOneToAll,  ///< the source layer's vector goes into every chosen layer
    kSingle,    ///< the source layer's vector goes into one layer
};
enum class SteeredRows { kBoth, kConditional };
/// What alpha counts.
enum class AlphaUnit {
    kDifference,  ///< multiples of the vector as extracted (the paper's)
    kUnit,        ///< multiples of the unit vector
    kResidual,    ///< multiples of the mean activation norm at the layer that is steered
};

inline constexpr std::int64_t kMaxHeads = 1024;  ///< of any model

/// What a vector v does to an activation h, where u = v / norm(v) and s is the schedule.
enum class SteeringMode {
    kAdd,        ///< h + alpha s v
    kAddRenorm,  ///< the same, rescaled to the norm that h had
    kAblate,     ///< h - alpha s (h . u) u: at alpha s = 1, nothing along u is left
    kClamp,      ///< h + s (value - h . u) u: at s = 1, the projection on u is `value`
};

/// What is done with a vector where it is applied: how, to which heads, with what share at which layer, and
/// at which frames.
struct SteeringEffect {
    SteeringMode mode = SteeringMode::kAdd;
    std::optional<double> value;  ///< of mode clamp, which needs it and has no alpha
    Schedule schedule;
    RandomFrames frames;
    LayerWeights weights{};
    std::vector<std::int64_t> heads{};  ///< of site self_attn_heads; none: all of them
    std::optional<Gate> gate{};
    bool orthogonalize = false;  ///< to the vectors before it (steering_combination.hpp)
};

/// @throws UsageError with the known names
SteeringMode parse_steering_mode(const std::string& name);
Strategy parse_strategy(const std::string& name);
SteeredRows parse_steered_rows(const std::string& name);
AlphaUnit parse_alpha_unit(const std::string& name);
std::string to_text(SteeringMode mode);
std::string to_text(Strategy strategy);
std::string to_text(SteeredRows rows);
std::string to_text(AlphaUnit unit);

/// "2-5,7" or "all" -> sorted layers without repetition. @throws UsageError, also for a layer the model
/// lacks.
std::vector<std::int64_t> parse_layers(const std::string& text, std::int64_t num_layers);
/// "2,3,7": what parse_layers and parse_heads read back.
std::string to_text(const std::vector<std::int64_t>& layers);
/// "0,3-5" -> sorted heads without repetition, "all" -> none. @throws UsageError
std::vector<std::int64_t> parse_heads(const std::string& text);

/// What is typed about one vector: which of its directions go where, and how strongly.
struct SteeringSpec {
    double alpha = 0.0;
    Strategy strategy = Strategy::kPerLayer;
    std::optional<std::vector<std::int64_t>> layers;  ///< default: every layer that has a vector
    std::optional<std::int64_t> source_layer;         ///< default: the layer with the largest effect size
    std::optional<Site> site;                         ///< default: the file's only site
    SteeredRows rows = SteeredRows::kBoth;
    AlphaUnit unit = AlphaUnit::kDifference;  ///< of the modes that add
    SteeringEffect effect;
};

/// One vector's effect at one hook point.
struct Injection {
    HookPoint point = HookPoint::embed();
    at::Tensor vector;      ///< [D] float32; zero outside of the mask
    double strength = 0.0;  ///< what stands before the schedule: alpha in multiples of `vector`, 1 for clamp
    SteeredRows rows = SteeredRows::kBoth;
    SteeringEffect effect;
    at::Tensor mask{};  ///< [D] bool: the chosen heads' numbers, the only ones that change; undefined: all
};

/// [D] bool, true at the numbers of the heads. @throws UsageError for a head that the model lacks
at::Tensor head_mask(const std::vector<std::int64_t>& heads, const DecoderDims& dims);

/// Everything that is done to one request's activations. At one hook point, in this order.
using SteeringPlan = std::vector<Injection>;

/// The spec as it was understood, for records: the strategy's defaults filled in.
struct ResolvedSteering {
    SteeringPlan plan;
    std::optional<std::int64_t> source_layer;
    std::vector<std::int64_t> layers;
    Site site = Site::kResidPost;
};

/// A gate must have its direction.
/// @throws UsageError if the file has no vector at a layer or site that is asked for, several sites and none
/// chosen, a strategy, layers, weights or heads that contradict, or an alpha that is not finite.
ResolvedSteering resolve_steering(const VectorFile& vectors, const SteeringSpec& spec,
                                  const DecoderDims& dims, const std::string& origin);

/// True if a gate acts on its own place or an earlier one, which it does from the next frame on: columns then
/// have to be taken one by one.
bool needs_single_steps(const SteeringPlan& plan);

/// Edit hooks that do each request's plan to its rows. Injections of strength zero are skipped, also at
/// single frames, so alpha 0 is bit-identical to no steering.
class Steering {
  public:
    /// @param plans  one for each request; @param rows  of the batch
    Steering(HookRegistry& hooks, const std::vector<SteeringPlan>& plans, std::span<const Row> rows,
             double frame_rate_hz, c10::Device device);

  private:
    std::vector<HookHandle> handles_;
};

}  // namespace musicsteer
