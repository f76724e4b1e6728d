#include "steer_options.hpp"

#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "musicsteer/errors.hpp"
#include "musicsteer/logging.hpp"
#include "musicsteer/sha256.hpp"
#include "musicsteer/value_lists.hpp"
#include "preset_settings.hpp"

namespace musicsteer::cli {
namespace {

const std::vector<std::string> kKeys = {"alpha", "layers",   "source-layer", "strategy",
                                        "site",  "rows",     "unit",         "mode",
                                        "value", "schedule", "probability",  "frame-seed"};

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
    } else {
        throw UsageError("--steer " + setting.file + ": unknown key '" + key + "'" +
                         did_you_mean(key, kKeys));
    }
}

bool has_any(const SteerSetting& setting) {
    return setting.alpha || setting.layers || setting.source_layer || setting.strategy || setting.site ||
           setting.rows || setting.unit || setting.mode || setting.value || setting.schedule ||
           setting.probability || setting.frame_seed;
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

SteeringSpec to_spec(const SteerSetting& setting, std::int64_t num_layers) {
    SteeringSpec spec;
    spec.alpha = setting.alpha.value_or(1.0);
    if (setting.layers) spec.layers = parse_layers(*setting.layers, num_layers);
    spec.source_layer = setting.source_layer;
    if (setting.source_layer && *setting.source_layer >= num_layers) {
        throw UsageError("source layer " + std::to_string(*setting.source_layer) +
                         ": the model has layers 0 to " + std::to_string(num_layers - 1));
    }
    // A source layer only makes sense for a strategy that has one, so it chooses the paper's.
    spec.strategy = setting.source_layer ? Strategy::kOneToAll : Strategy::kPerLayer;
    if (setting.strategy) spec.strategy = parse_strategy(*setting.strategy);
    if (setting.site) spec.site = parse_site(*setting.site);
    if (setting.rows) spec.rows = parse_steered_rows(*setting.rows);
    if (setting.unit) spec.unit = parse_alpha_unit(*setting.unit);
    spec.effect = setting.effect();
    return spec;
}

}  // namespace

SteeringEffect SteerSetting::effect() const {
    SteeringEffect effect;
    if (mode) effect.mode = parse_steering_mode(*mode);
    if (effect.mode == SteeringMode::kClamp && alpha)
        throw UsageError("mode clamp has no alpha: value says where the projection on the vector goes");
    effect.value = value;
    if (schedule) effect.schedule = Schedule::parse(*schedule);
    if (frame_seed && !probability) throw UsageError("a frame seed makes sense with a probability");
    effect.frames = {probability.value_or(1.0), frame_seed.value_or(0)};
    return effect;
}

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
    std::vector<SteerSetting> settings;
    for (const std::string& text : steer) settings.push_back(SteerSetting::parse(text));
    if (!preset.empty()) {
        check_beside_preset(bare, settings.size());
        std::vector<SteerSetting> of_preset = preset_settings(preset, bare.alpha);
        settings.insert(settings.begin(), std::make_move_iterator(of_preset.begin()),
                        std::make_move_iterator(of_preset.end()));
        return settings;
    }
    if (!has_any(bare)) return settings;
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
    return settings;
}

void add_steer_flags(CLI::App& command, SteerFlags& flags) {
    const char* group = "Steering";
    command
        .add_option("--preset", flags.preset,
                    "A way of steering that calibrate found, with its strength; --alpha sets another.\n"
                    "May stand beside --steer")
        ->group(group);
    command
        .add_option("--steer", flags.steer,
                    "Vector file, with settings of its own: FILE:alpha=1.5:layers=2-5:source-layer=4:\n"
                    "strategy=one-to-all:site=resid_post:rows=both:unit=difference. May be repeated.")
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
}

namespace {

void load_vector(AppliedVector& vector) {
    const std::string& file = vector.setting.file;
    const std::optional<PresetOrigin>& preset = vector.setting.preset;
    try {
        vector.vectors = VectorFile::load(file);
        vector.sha256 = sha256_of_file(file);
    } catch (const InputError& error) {
        if (!preset) throw;
        throw InputError(preset->path + ": " + error.what());
    }
    if (preset && vector.sha256 != preset->vector_sha256) {
        throw InputError(preset->path + ": " + file + " is not the vector file that the preset was found " +
                         "with (its SHA-256 differs): restore that file, or make the preset again");
    }
}

void warn_of_other_weights(const AppliedVector& vector, const Manifest& manifest) {
    const std::optional<PresetOrigin>& preset = vector.setting.preset;
    if (preset && preset->weights_sha256 != manifest.weights_sha256) {
        log_warn(preset->path + " was found on other weights (" + preset->model_name +
                 ") than this model's (" + manifest.model_name + "): its strengths may mean nothing here");
    } else if (!vector.vectors.same_weights(manifest)) {
        log_warn(vector.setting.file + " was extracted from other weights (" +
                 vector.vectors.provenance.model_name + ") than this model's (" + manifest.model_name +
                 "): its directions may mean nothing here");
    }
}

void resolve_vector(AppliedVector& vector, const Manifest& manifest) {
    const std::string& file = vector.setting.file;
    try {
        vector.vectors.check_fits(manifest, file);
        vector.spec = to_spec(vector.setting, manifest.decoder.num_layers);
        vector.resolve(manifest.decoder);
    } catch (const Error& error) {
        if (!vector.setting.preset) throw;
        throw InputError(vector.setting.preset->path + ": " + error.what());
    }
}

}  // namespace

std::vector<AppliedVector> load_vectors(const std::vector<SteerSetting>& settings) {
    std::vector<AppliedVector> vectors;
    for (const SteerSetting& setting : settings) {
        if (setting.alpha && !std::isfinite(*setting.alpha))
            throw UsageError("alpha must be a finite number");
        AppliedVector vector;
        vector.setting = setting;
        load_vector(vector);
        vectors.push_back(std::move(vector));
    }
    return vectors;
}

void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest) {
    for (AppliedVector& vector : vectors) {
        resolve_vector(vector, manifest);
        warn_of_other_weights(vector, manifest);
    }
}

SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors) {
    SteeringPlan plan;
    for (const AppliedVector& vector : vectors) {
        plan.insert(plan.end(), vector.resolved.plan.begin(), vector.resolved.plan.end());
    }
    return plan;
}

void AppliedVector::resolve(const DecoderDims& dims) {
    resolved = resolve_steering(vectors, spec, dims.num_layers, setting.file);
}

AppliedSteering AppliedVector::applied() const {
    return AppliedSteering::of(setting.file, sha256, vectors.provenance, spec, resolved);
}

}  // namespace musicsteer::cli
