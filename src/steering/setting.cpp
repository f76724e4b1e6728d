#include "musicsteer/setting.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>

#include "base/numbers.hpp"
#include "base/size_limits.hpp"
#include "musicsteer/errors.hpp"
#include "steering/setting_fields.hpp"

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

/// Of `text`, the parts between those colons that a "word=" follows: the path may hold colons itself.
std::vector<std::string> split_at_keys(const std::string& text) {
    const auto starts_with_key = [](const std::string& rest) {
        const std::size_t equals = rest.find('=');
        return equals != std::string::npos && rest.find_first_of("/\\. ") > equals;
    };
    std::vector<std::string> parts;
    std::size_t start = 0;
    for (std::size_t colon = text.find(':'); colon != std::string::npos; colon = text.find(':', colon + 1)) {
        if (!starts_with_key(text.substr(colon + 1))) continue;
        parts.push_back(text.substr(start, colon - start));
        start = colon + 1;
    }
    parts.push_back(text.substr(start));
    return parts;
}

void set_key(SteeringSetting& setting, const std::string& key, const std::string& text) {
    std::vector<std::string> known;
    for (const SettingField& field : setting_fields()) {
        known.push_back(field.flag());
        if (key != known.back()) continue;
        const std::string where = "--steer " + setting.file + ": " + key;
        if (field.is_set(setting)) throw UsageError(where + " is given twice");
        try {
            field.parse(setting, text);
        } catch (const UsageError& error) {
            throw UsageError(where + ": " + error.what());
        }
        return;
    }
    throw UsageError("--steer " + setting.file + ": unknown key '" + key + "'" + did_you_mean(key, known));
}

template <typename Value>
void drop_if(std::optional<Value>& slot, bool is_default) {
    if (slot && is_default) slot.reset();
}

}  // namespace

SteeringSetting SteeringSetting::parse(const std::string& text) {
    const std::vector<std::string> parts = split_at_keys(text);
    SteeringSetting setting;
    setting.file = parts.front();
    if (setting.file.empty()) throw UsageError("--steer '" + text + "': expected FILE or FILE:key=value:...");
    const std::size_t colon = setting.file.rfind(':');
    std::error_code ignored;
    if (colon != std::string::npos && parse_number(std::string_view(setting.file).substr(colon + 1)) &&
        !std::filesystem::exists(setting.file, ignored)) {
        throw UsageError("--steer '" + text + "': a strength is named, as in '" +
                         setting.file.substr(0, colon) + ":alpha" + "=" + setting.file.substr(colon + 1) +
                         "'");
    }
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::size_t equals = parts[i].find('=');
        set_key(setting, parts[i].substr(0, equals), parts[i].substr(equals + 1));
    }
    return setting;
}

bool SteeringSetting::has_any() const {
    const auto fields = setting_fields();
    return std::any_of(fields.begin(), fields.end(),
                       [&](const SettingField& field) { return field.is_set(*this); });
}

void SteeringSetting::drop_defaults() {
    drop_if(mode, mode == SteeringMode::kAdd);
    drop_if(schedule, schedule && schedule->is_constant());
    drop_if(ramp_in_s, ramp_in_s == 0.0);
    const bool every_frame = probability.value_or(1.0) >= 1.0;
    drop_if(frame_seed, every_frame);
    drop_if(probability, every_frame);
    drop_if(weights, weights && weights->is_uniform());
    drop_if(heads, heads && heads->empty());
    drop_if(orthogonalize, orthogonalize == false);
}

LayerList LayerList::parse(const std::string& text) {
    if (text == "all") return {.all = true, .numbers = {}};
    return {.all = false,
            .numbers = parse_indices(text, "layers", kMaxLayers, "no model has that many layers")};
}

std::vector<std::int64_t> LayerList::of(std::int64_t num_layers) const {
    if (all) {
        std::vector<std::int64_t> layers(static_cast<std::size_t>(num_layers));
        std::iota(layers.begin(), layers.end(), std::int64_t{0});
        return layers;
    }
    if (!numbers.empty() && (numbers.front() < 0 || numbers.back() >= num_layers)) {
        throw UsageError("layers " + in_quotes(to_text(numbers)) + ": the model has layers 0 to " +
                         std::to_string(num_layers - 1));
    }
    return numbers;
}

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
    if (text == "all") return LayerList{.all = true, .numbers = {}}.of(num_layers);
    return parse_indices(text, "layers", num_layers,
                         "the model has layers 0 to " + std::to_string(num_layers - 1));
}

std::vector<std::int64_t> parse_heads(const std::string& text) {
    if (text == "all") return {};
    return parse_indices(text, "heads", kMaxHeads, "no model has that many heads");
}

}  // namespace musicsteer
