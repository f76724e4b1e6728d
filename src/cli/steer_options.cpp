#include "steer_options.hpp"

#include <cmath>
#include <cstdlib>

#include "base/errors.hpp"
#include "base/numbers.hpp"
#include "preset_settings.hpp"

namespace musicsteer::cli {
namespace {

const std::vector<std::string> kKeys = {"alpha",       "layers",     "source-layer", "strategy", "site",
                                        "rows",        "unit",       "mode",         "value",    "schedule",
                                        "probability", "frame-seed", "heads",        "weights",  "gate"};

bool starts_with_key(const std::string& text) {
    const std::size_t equals = text.find('=');
    return equals != std::string::npos && text.find_first_of("/\\. ") > equals;
}

double parse_number(const std::string& value, const std::string& where) {
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0') throw UsageError(where + ": '" + value + "' is not a number");
    return number;
}

std::int64_t parse_layer_number(const std::string& value, const std::string& where) {
    const double number = parse_number(value, where);
    if (number < 0 || number != std::floor(number) || number > 1e6) {
        throw UsageError(where + ": '" + value + "' is not a layer number");
    }
    return static_cast<std::int64_t>(number);
}

std::uint64_t parse_seed_number(const std::string& value, const std::string& where) {
    const std::vector<std::uint64_t> seeds = parse_seeds(value);
    if (seeds.size() != 1) throw UsageError(where + ": expected one number");
    return seeds.front();
}

template <typename Value>
void set_once(std::optional<Value>& slot, Value value, const std::string& where) {
    if (slot) throw UsageError(where + " is given twice");
    slot = std::move(value);
}

void set_key(SteerSetting& setting, const std::string& key, const std::string& value) {
    const std::string where = "--steer " + setting.file + ": " + key;
    if (key == "alpha") {
        set_once(setting.alpha, parse_number(value, where), where);
    } else if (key == "layers") {
        set_once(setting.layers, value, where);
    } else if (key == "source-layer") {
        set_once(setting.source_layer, parse_layer_number(value, where), where);
    } else if (key == "strategy") {
        set_once(setting.strategy, value, where);
    } else if (key == "site") {
        set_once(setting.site, value, where);
    } else if (key == "rows") {
        set_once(setting.rows, value, where);
    } else if (key == "unit") {
        set_once(setting.unit, value, where);
    } else if (key == "mode") {
        set_once(setting.mode, value, where);
    } else if (key == "value") {
        set_once(setting.value, parse_number(value, where), where);
    } else if (key == "schedule") {
        set_once(setting.schedule, value, where);
    } else if (key == "probability") {
        set_once(setting.probability, parse_number(value, where), where);
    } else if (key == "frame-seed") {
        set_once(setting.frame_seed, parse_seed_number(value, where), where);
    } else if (key == "heads") {
        set_once(setting.heads, value, where);
    } else if (key == "weights") {
        set_once(setting.weights, value, where);
    } else if (key == "gate") {
        set_once(setting.gate, Gate::parse(value), where);
    } else {
        throw UsageError("--steer " + setting.file + ": unknown key '" + key + "'" +
                         did_you_mean(key, kKeys));
    }
}

bool has_any(const SteerSetting& setting) {
    return setting.alpha || setting.layers || setting.source_layer || setting.strategy || setting.site ||
           setting.rows || setting.unit || setting.mode || setting.value || setting.schedule ||
           setting.probability || setting.frame_seed || setting.heads || setting.weights || setting.gate;
}

/// The strength of a preset may be given; everything else it says itself.
void check_beside_preset(const SteerSetting& bare, std::size_t vectors) {
    if (bare.alpha && vectors > 0) {
        throw UsageError(
            "--alpha beside --preset and --steer: write --steer FILE:alpha=1.5, and the preset's "
            "strength into the preset");
    }
    SteerSetting rest = bare;
    rest.alpha.reset();
    if (has_any(rest))
        throw UsageError(
            "--layers and the like have no effect with --preset, which says them; write those "
            "of a --steer behind its file, FILE:layers=2-5");
}

template <typename Value>
void complete(std::optional<Value>& slot, const std::optional<Value>& bare, const std::string& flag) {
    if (slot && bare) throw UsageError(flag + " is given twice: in --steer and as a flag");
    if (!slot) slot = bare;
}

/// The bare flags, given to the one vector that there is.
void complete_only(std::vector<SteerSetting>& settings, const SteerSetting& bare) {
    if (settings.empty()) throw UsageError("--alpha, --layers and the like need a --steer FILE");
    if (settings.size() > 1) {
        throw UsageError("with several vectors write their settings into --steer FILE:alpha=1.5:layers=2-5");
    }
    SteerSetting& only = settings.front();
    complete(only.alpha, bare.alpha, "--alpha");
    complete(only.layers, bare.layers, "--layers");
    complete(only.source_layer, bare.source_layer, "--source-layer");
    complete(only.strategy, bare.strategy, "--strategy");
    complete(only.site, bare.site, "--site");
    complete(only.rows, bare.rows, "--rows");
    complete(only.unit, bare.unit, "--unit");
    complete(only.mode, bare.mode, "--mode");
    complete(only.value, bare.value, "--value");
    complete(only.schedule, bare.schedule, "--schedule");
    complete(only.probability, bare.probability, "--probability");
    complete(only.frame_seed, bare.frame_seed, "--frame-seed");
    complete(only.heads, bare.heads, "--heads");
    complete(only.weights, bare.weights, "--weights");
    complete(only.gate, bare.gate, "--gate");
}

}  // namespace

SteerSetting SteerSetting::parse(const std::string& text) {
    // The path may hold colons itself: the keys begin at the first colon that a "word=" follows.
    std::vector<std::string> parts;
    std::size_t start = 0;
    for (std::size_t colon = text.find(':'); colon != std::string::npos; colon = text.find(':', colon + 1)) {
        if (!starts_with_key(text.substr(colon + 1))) continue;
        parts.push_back(text.substr(start, colon - start));
        start = colon + 1;
    }
    parts.push_back(text.substr(start));

    SteerSetting setting;
    setting.file = parts.front();
    if (setting.file.empty()) throw UsageError("--steer '" + text + "': expected FILE or FILE:key=value:...");
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::size_t equals = parts[i].find('=');
        set_key(setting, parts[i].substr(0, equals), parts[i].substr(equals + 1));
    }
    return setting;
}

std::vector<SteerSetting> SteerFlags::settings() const {
    SteerSetting only = bare;
    if (gate) only.gate = Gate::parse(*gate);
    std::vector<SteerSetting> settings;
    if (!preset.empty()) {
        check_beside_preset(only, steer.size() + (steering.empty() ? 0 : 1));
        settings = preset_settings(preset, only.alpha);
    }
    if (!steering.empty()) {
        if (has_any(only) && preset.empty())
            throw UsageError(
                "--alpha, --layers and the like have no effect with --steering, which says them");
        for (SteerSetting& setting : steering_file_settings(steering)) settings.push_back(std::move(setting));
    }
    for (const std::string& text : steer) settings.push_back(SteerSetting::parse(text));
    if (preset.empty() && has_any(only)) complete_only(settings, only);
    if (orthogonalize) {
        if (settings.size() < 2)
            throw UsageError(
                "--orthogonalize needs two vectors or more: each loses what lies along those before it");
        for (std::size_t i = 1; i < settings.size(); ++i) settings[i].orthogonalize = true;
    }
    return settings;
}

namespace {

void add_place_flags(CLI::App& command, SteerFlags& flags, const char* group) {
    command
        .add_option("--heads", flags.bare.heads,
                    "At site self_attn_heads: the heads to steer, as 0,3-5; the others keep their bits [all]")
        ->group(group);
    command
        .add_option("--weights", flags.bare.weights,
                    "Share of alpha by layer: uniform; top-K, only the K layers of largest effect size;\n"
                    "exponential,FACTOR, a factor for each place down that ranking [uniform]")
        ->group(group);
    command
        .add_option(
            "--gate", flags.gate,
            "Steer only while the cosine of the prompt row's activation with a direction is low or high:\n"
            "'FILE@decoder.12.resid_post<0.3' or '>0.3' (quote it)")
        ->group(group);
}

}  // namespace

void add_steer_flags(CLI::App& command, SteerFlags& flags) {
    const char* group = "Steering";
    command
        .add_option("--preset", flags.preset,
                    "A way of steering that calibrate found, with its strength; --alpha sets another.\n"
                    "May stand beside --steer")
        ->group(group);
    command
        .add_option(
            "--steering", flags.steering,
            "Vectors and their settings from a file (docs/steering.schema.json), such as the one that\n"
            "generate writes beside a steered clip. May stand beside --preset and --steer")
        ->group(group);
    command
        .add_option("--steer", flags.steer,
                    "Vector file, with settings of its own, named as the flags below: FILE:alpha=1.5:\n"
                    "layers=2-5:rows=conditional. May be repeated.")
        ->allow_extra_args(false)
        ->group(group);
    command.add_option("--alpha", flags.bare.alpha, "Strength; negative goes the other way, 0 is off [1]")
        ->group(group);
    command
        .add_option("--layers", flags.bare.layers, "Layers to steer: 2-5,7 or all [all that have a vector]")
        ->group(group);
    command
        .add_option("--source-layer", flags.bare.source_layer,
                    "Layer whose vector is used, for one-to-all and single [largest effect size]")
        ->check(CLI::NonNegativeNumber)
        ->group(group);
    command
        .add_option("--strategy", flags.bare.strategy,
                    "per-layer, one-to-all or single [per-layer; one-to-all with --source-layer]")
        ->group(group);
    command.add_option("--site", flags.bare.site, "Where in the layer [the file's only site]")->group(group);
    command.add_option("--rows", flags.bare.rows, "Guidance rows to steer: both or conditional [both]")
        ->group(group);
    command
        .add_option(
            "--unit", flags.bare.unit,
            "What alpha counts: difference (the vector as extracted), unit (vector of length 1), residual\n"
            "(mean activation norm of the steered layer) [difference]")
        ->group(group);
    command
        .add_option(
            "--mode", flags.bare.mode,
            "What the vector does: add; add-renorm (the activation keeps its norm); ablate (removes what\n"
            "lies along the vector, alpha is the share); clamp (sets it to --value) [add]")
        ->group(group);
    command
        .add_option("--value", flags.bare.value,
                    "Of mode clamp: the projection on the vector, which has no alpha")
        ->group(group);
    command
        .add_option("--schedule", flags.bare.schedule,
                    "Alpha's course along the clip: constant; decay,FACTOR,FLOOR (a frame's factor, such as\n"
                    "decay,0.998,0.1); linear,START,END; window,FROM,TO in seconds, more of them if need be "
                    "[constant]")
        ->group(group);
    command
        .add_option("--probability", flags.bare.probability,
                    "Steer each frame with this probability, drawn with --frame-seed [1]")
        ->group(group);
    command.add_option("--frame-seed", flags.bare.frame_seed, "Of --probability [0]")->group(group);
    add_place_flags(command, flags, group);
    command
        .add_flag("--orthogonalize", flags.orthogonalize,
                  "With several vectors: each loses what lies along those before it, layer by layer")
        ->group(group);
}

}  // namespace musicsteer::cli
