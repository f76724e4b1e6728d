#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "musicsteer/gate_setting.hpp"
#include "musicsteer/hook_point.hpp"
#include "musicsteer/layer_weights.hpp"
#include "musicsteer/schedule.hpp"
#include "musicsteer/steering_mode.hpp"

namespace musicsteer {

/// How the vectors of a file are spread over layers.
enum class Strategy {
    kPerLayer,  ///< each chosen layer gets its own vector
    kOneToAll,  ///< the source layer's vector goes into every chosen layer
    kSingle,    ///< the source layer's vector goes into one layer
};
/// What alpha counts.
enum class AlphaUnit {
    kDifference,  ///< multiples of the vector as extracted (the paper's)
    kUnit,        ///< multiples of the unit vector
    kResidual,    ///< multiples of the mean activation norm at the layer that is steered
};

inline constexpr std::int64_t kMaxHeads = 1024;  ///< upper bound for any model

/// Strengths from `low` to `high`.
struct AlphaRange {
    double low = 0.0;
    double high = 0.0;

    bool empty() const { return low == 0.0 && high == 0.0; }
    bool contains(double alpha) const { return low <= alpha && alpha <= high; }

    friend bool operator==(const AlphaRange&, const AlphaRange&) = default;
};

/// Layers as typed: numbers, or all of the model's.
struct LayerList {
    bool all = false;
    std::vector<std::int64_t> numbers;  ///< sorted, each once

    /// "2-5,7" or "all". @throws UsageError
    static LayerList parse(const std::string& text);
    /// @throws UsageError for a layer that the model lacks
    std::vector<std::int64_t> of(std::int64_t num_layers) const;
};

/// The steering file that a setting was read from.
struct SettingOrigin {
    std::string path;
    std::string model_name;      ///< of the model that it was made on
    std::string weights_sha256;  ///< empty if not stated
};

/// A vector file and how it is applied. The one type for this, from command line to records. Unset fields
/// have their defaults, which resolve_steering() fills in. setting_fields() (setting_fields.hpp) lists the
/// fields.
struct SteeringSetting {
    std::string file;
    std::string sha256;  ///< of the file; empty if not known yet
    std::string concept_name;
    std::string positive_label;
    std::string negative_label;

    std::optional<double> alpha;  ///< unset with mode clamp
    std::optional<LayerList> layers;
    std::optional<std::int64_t> source_layer;
    std::optional<Strategy> strategy;
    std::optional<Site> site;
    std::optional<SteeredRows> rows;
    std::optional<AlphaUnit> unit;
    std::optional<SteeringMode> mode;
    std::optional<double> value;
    std::optional<Schedule> schedule;
    std::optional<double> ramp_in_s;
    std::optional<double> probability;
    std::optional<std::uint64_t> frame_seed;
    std::optional<LayerWeights> weights;
    std::optional<std::vector<std::int64_t>> heads;
    std::optional<GateSetting> gate;
    std::optional<bool> orthogonalize;

    std::optional<AlphaRange> alpha_range;  ///< from a steering file: strengths found to work
    std::optional<SettingOrigin> origin;    ///< none: typed

    /// "FILE:alpha=1.5:layers=2-5". @throws UsageError naming the key that is unknown or repeated
    static SteeringSetting parse(const std::string& text);

    SteeringMode mode_or_default() const { return mode.value_or(SteeringMode::kAdd); }
    /// True if a field that can be typed is set.
    bool has_any() const;
    /// Unsets fields that equal their default, so that settings with the same effect compare equal.
    void drop_defaults();
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
/// "0,3-5" -> sorted heads without repetition, "all" -> none. @throws UsageError
std::vector<std::int64_t> parse_heads(const std::string& text);

}  // namespace musicsteer
