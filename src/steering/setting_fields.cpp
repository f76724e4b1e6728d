#include "steering/setting_fields.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "base/size_limits.hpp"
#include "musicsteer/errors.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

// How a field's value is typed, printed, and read from and written to JSON. That of a TextCodec is a word or
// phrase, in JSON as it is typed.
template <typename Value>
struct Codec;

template <typename Value>
Value parse_json_text(const JsonView& view) {
    try {
        return Codec<Value>::parse(view.text());
    } catch (const UsageError& error) {
        view.fail(error.what());
    }
}

template <typename Value>
struct TextCodec {
    static constexpr const char* kJsonType = R"({"type": "string"})";
    static Value read(const JsonView& view) { return parse_json_text<Value>(view); }
    static json write(const Value& value) { return Codec<Value>::print(value); }
};

template <>
struct Codec<Strategy> : TextCodec<Strategy> {
    static constexpr const char* kJsonType = R"({"enum": ["per-layer", "one-to-all", "single"]})";
    static Strategy parse(const std::string& text) { return parse_strategy(text); }
    static std::string print(Strategy value) { return to_text(value); }
};
template <>
struct Codec<Site> : TextCodec<Site> {
    static Site parse(const std::string& text) { return parse_site(text); }
    static std::string print(Site value) { return to_text(value); }
};
template <>
struct Codec<SteeredRows> : TextCodec<SteeredRows> {
    static constexpr const char* kJsonType = R"({"enum": ["both", "conditional"]})";
    static SteeredRows parse(const std::string& text) { return parse_steered_rows(text); }
    static std::string print(SteeredRows value) { return to_text(value); }
};
template <>
struct Codec<AlphaUnit> : TextCodec<AlphaUnit> {
    static constexpr const char* kJsonType = R"({"enum": ["difference", "unit", "residual"]})";
    static AlphaUnit parse(const std::string& text) { return parse_alpha_unit(text); }
    static std::string print(AlphaUnit value) { return to_text(value); }
};
template <>
struct Codec<SteeringMode> : TextCodec<SteeringMode> {
    static constexpr const char* kJsonType = R"({"enum": ["add", "add-renorm", "ablate", "clamp"]})";
    static SteeringMode parse(const std::string& text) { return parse_steering_mode(text); }
    static std::string print(SteeringMode value) { return to_text(value); }
};
template <>
struct Codec<Schedule> : TextCodec<Schedule> {
    static Schedule parse(const std::string& text) { return Schedule::parse(text); }
    static std::string print(const Schedule& value) { return value.text(); }
};
template <>
struct Codec<LayerWeights> : TextCodec<LayerWeights> {
    static LayerWeights parse(const std::string& text) { return LayerWeights::parse(text); }
    static std::string print(const LayerWeights& value) { return value.text(); }
};

template <>
struct Codec<double> {
    static constexpr const char* kJsonType = R"({"type": "number"})";
    static double parse(const std::string& text) {
        if (const auto number = parse_number(text)) return *number;
        throw UsageError(in_quotes(text) + " is not a finite number");
    }
    static std::string print(double value) { return to_text(value); }
    static double read(const JsonView& view) { return view.number(); }
    static json write(double value) { return value; }
};
template <>
struct Codec<std::int64_t> {
    static constexpr const char* kJsonType = R"({"type": "integer", "minimum": 0})";
    static std::int64_t parse(const std::string& text) {
        const auto layers = parse_indices(text, "layers", kMaxLayers, "no model has that many layers");
        if (layers.size() != 1) throw UsageError("expected one layer number");
        return layers.front();
    }
    static std::string print(std::int64_t value) { return std::to_string(value); }
    static std::int64_t read(const JsonView& view) { return view.integer(0, kMaxLayers); }
    static json write(std::int64_t value) { return value; }
};
template <>
struct Codec<std::uint64_t> {
    static constexpr const char* kJsonType = R"({"type": "integer", "minimum": 0})";
    static std::uint64_t parse(const std::string& text) {
        const std::vector<std::uint64_t> seeds = parse_seeds(text);
        if (seeds.size() != 1) throw UsageError("expected one number");
        return seeds.front();
    }
    static std::string print(std::uint64_t value) { return std::to_string(value); }
    static std::uint64_t read(const JsonView& view) { return view.unsigned_integer(); }
    static json write(std::uint64_t value) { return value; }
};
template <>
struct Codec<bool> {
    static constexpr const char* kJsonType = R"({"type": "boolean"})";
    static bool parse(const std::string& text) {
        if (text == "true" || text == "false") return text == "true";
        throw UsageError("expected true or false, found " + in_quotes(text));
    }
    static std::string print(bool value) { return value ? "true" : "false"; }
    static bool read(const JsonView& view) { return view.boolean(); }
    static json write(bool value) { return value; }
};

/// "2-5,7", 3 or [2, 3, 7], as it would be typed.
std::string typed_numbers(const JsonView& view, std::int64_t most) {
    if (view.is_text()) return view.text();
    if (!view.is_list()) return std::to_string(view.integer(0, most));
    std::vector<std::int64_t> numbers;
    for (const JsonView& item : view.items()) numbers.push_back(item.integer(0, most));
    if (numbers.empty()) view.fail("expected at least one number, found an empty list");
    return to_text(numbers);
}

constexpr const char* kNumberListType =
    R"({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}]})";

template <>
struct Codec<LayerList> {
    static constexpr const char* kJsonType = kNumberListType;
    static LayerList parse(const std::string& text) { return LayerList::parse(text); }
    static std::string print(const LayerList& value) { return value.all ? "all" : to_text(value.numbers); }
    static LayerList read(const JsonView& view) {
        try {
            return parse(typed_numbers(view, kMaxLayers));
        } catch (const UsageError& error) {
            view.fail(error.what());
        }
    }
    static json write(const LayerList& value) { return value.all ? json("all") : json(value.numbers); }
};
template <>
struct Codec<std::vector<std::int64_t>> {  // heads
    static constexpr const char* kJsonType = kNumberListType;
    static std::vector<std::int64_t> parse(const std::string& text) { return parse_heads(text); }
    static std::string print(const std::vector<std::int64_t>& value) {
        return value.empty() ? "all" : to_text(value);
    }
    static std::vector<std::int64_t> read(const JsonView& view) {
        try {
            return parse(typed_numbers(view, kMaxHeads));
        } catch (const UsageError& error) {
            view.fail(error.what());
        }
    }
    static json write(const std::vector<std::int64_t>& value) { return value; }
};

template <typename Owner, typename Value>
Value value_type_of(std::optional<Value> Owner::*);

/// The row of a member whose type says how it is typed and stored.
template <auto Member>
constexpr SettingField field(const char* key, const char* value_name, const char* help) {
    using C = Codec<decltype(value_type_of(Member))>;
    return {key,
            value_name,
            help,
            C::kJsonType,
            [](const SteeringSetting& s) { return (s.*Member).has_value(); },
            [](SteeringSetting& s, const std::string& text) { s.*Member = C::parse(text); },
            [](const SteeringSetting& s) { return C::print(*(s.*Member)); },
            [](SteeringSetting& s, const JsonView& entry, const char* name) {
                if (const auto view = entry.find(name)) s.*Member = C::read(*view);
            },
            [](const SteeringSetting& s, json& entry, const char* name) {
                entry[name] = C::write(*(s.*Member));
            }};
}

void read_gate(SteeringSetting& setting, const JsonView& entry, const char* key) {
    const auto condition = entry.find(key);
    if (!condition) {
        if (const auto file = entry.find("gate_file"))
            file->fail("makes sense with a gate, and there is none");
        return;
    }
    const std::string file = entry.at("gate_file").text();
    if (file.empty()) entry.at("gate_file").fail("expected the path of a vector file, found ''");
    try {
        setting.gate = GateSetting::parse(file, condition->text());
    } catch (const UsageError& error) {
        condition->fail(error.what());
    }
    if (const auto sha256 = entry.find("gate_sha256")) setting.gate->sha256 = read_sha256(*sha256);
}

void write_gate(const SteeringSetting& setting, json& entry, const char* key) {
    entry[key] = setting.gate->condition();
    entry["gate_file"] = setting.gate->file;
    if (!setting.gate->sha256.empty()) entry["gate_sha256"] = setting.gate->sha256;
}

using S = SteeringSetting;

// A new setting is a row here, a member of SteeringSetting, and the code that does it (resolve.cpp).
constexpr std::array kFields = {
    field<&S::alpha>("alpha", "NUM", "Strength; negative goes the other way, 0 is off [1]"),
    field<&S::strategy>("strategy", "NAME",
                        "per-layer, one-to-all or single [per-layer; one-to-all with --source-layer]"),
    field<&S::layers>("layers", "LIST", "Layers to steer: 2-5,7 or all [all that have a vector]"),
    field<&S::source_layer>("source_layer", "LAYER",
                            "Layer whose vector is used, for one-to-all and single [largest effect size]"),
    field<&S::site>("site", "NAME", "Where in the layer [the file's only site]"),
    field<&S::rows>("rows", "NAME", "Guidance rows to steer: both or conditional [both]"),
    field<&S::unit>("unit", "NAME",
                    "What alpha counts: difference (the vector as extracted), unit (vector of length 1), "
                    "residual\n(mean activation norm of the steered layer) [difference]"),
    field<&S::mode>("mode", "NAME",
                    "What the vector does: add; add-renorm (the activation keeps its norm); ablate (removes "
                    "what\nlies along the vector, alpha is the share); clamp (sets it to --value) [add]"),
    field<&S::value>("value", "NUM", "For mode clamp, which has no alpha: the projection to set"),
    field<&S::schedule>(
        "schedule", "NAME,NUM,...",
        "How alpha changes along the clip: constant; decay,FACTOR,FLOOR (FACTOR for each frame, "
        "as\ndecay,0.998,0.1); linear,START,END; window,FROM,TO in seconds, or several "
        "windows [constant]"),
    field<&S::ramp_in_s>("ramp_in_s", "SECONDS",
                         "Alpha rises from 0 over this time, along a raised cosine [0: at once]"),
    field<&S::probability>("probability", "NUM",
                           "Steer each frame with this probability, drawn with --frame-seed [1]"),
    field<&S::frame_seed>("frame_seed", "SEED", "Seed for --probability [0]"),
    field<&S::weights>("weights", "NAME,NUM",
                       "Share of alpha by layer: uniform; top-K, the K layers of largest effect size alone;\n"
                       "exponential,FACTOR, multiplied by FACTOR at each step down that ranking [uniform]"),
    field<&S::heads>(
        "heads", "LIST",
        "At site self_attn_heads: the heads to steer, as 0,3-5; the others keep their bits [all]"),
    SettingField{
        "gate", "FILE@POINT<NUM",
        "Steer only while the cosine of the prompt row's activation with a direction is low or high:\n"
        "'FILE@decoder.12.resid_post<0.3' or '>0.3' (quote it)",
        R"({"type": "string"})", [](const S& s) { return s.gate.has_value(); },
        [](S& s, const std::string& text) { s.gate = GateSetting::parse(text); },
        [](const S& s) { return s.gate->file + "@" + s.gate->condition(); }, read_gate, write_gate},
    field<&S::orthogonalize>("orthogonalize", "BOOL",
                             "true: the vector loses what lies along those before it, layer by layer"),
};

}  // namespace

std::string SettingField::flag() const {
    std::string text = key;
    std::replace(text.begin(), text.end(), '_', '-');
    return text;
}

std::span<const SettingField> setting_fields() {
    return kFields;
}

}  // namespace musicsteer
