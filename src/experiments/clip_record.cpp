#include "experiments/clip_record.hpp"

#include <nlohmann/json.hpp>

#include "io/sha256.hpp"
#include "steering/steering_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr std::size_t kIdDigits = 20;

/// What of a vector's application changes bytes.
json steering_identity(const AppliedSteering& steering) {
    json identity = {
        {"sha256", steering.sha256},
        {"alpha", steering.alpha},
        {"strategy", to_text(steering.strategy)},
        {"layers", steering.layers},
        {"site", to_text(steering.site)},
        {"rows", to_text(steering.rows)},
        {"unit", to_text(steering.unit)},
    };
    if (steering.source_layer) identity["source_layer"] = *steering.source_layer;
    identity.update(effect_json(steering.effect));
    identity.erase("gate_file");  // its hash counts
    return identity;
}

json execution_json(const ClipSettings& settings, std::int64_t text_length) {
    return {{"batch_size", settings.batch_size},
            {"text_length", text_length},
            {"threads", settings.threads},
            {"device", settings.device},
            {"precision", settings.precision}};
}

}  // namespace

std::string program_version() {
    return MUSICSTEER_VERSION;
}

AppliedSteering AppliedSteering::of(const std::string& file, const std::string& sha256,
                                    const Provenance& provenance, const SteeringSpec& spec,
                                    const ResolvedSteering& resolved) {
    AppliedSteering steering;
    steering.file = file;
    steering.sha256 = sha256;
    steering.concept_name = provenance.concept_name;
    steering.positive_label = provenance.positive_label;
    steering.negative_label = provenance.negative_label;
    steering.alpha = spec.alpha;
    steering.strategy = spec.strategy;
    steering.layers = resolved.layers;
    steering.source_layer = resolved.source_layer;
    steering.site = resolved.site;
    steering.rows = spec.rows;
    steering.unit = spec.unit;
    steering.effect = spec.effect;
    return steering;
}

SteeringSpec AppliedSteering::spec() const {
    SteeringSpec result;
    result.alpha = alpha;
    result.strategy = strategy;
    result.layers = layers;
    result.source_layer = source_layer;
    result.site = site;
    result.rows = rows;
    result.unit = unit;
    result.effect = effect;
    return result;
}

ClipSettings ClipSettings::of(const Manifest& manifest, double duration_s, const SamplingOptions& sampling) {
    ClipSettings settings;
    settings.model_name = manifest.model_name;
    settings.weights_sha256 = manifest.weights_sha256;
    settings.duration_s = duration_s;
    settings.num_frames = manifest.frames_of(duration_s);
    settings.sample_rate_hz = manifest.codec.sample_rate_hz;
    settings.sampling = sampling;
    settings.precision = manifest.precision;
    return settings;
}

json steering_json(const AppliedSteering& steering) {
    json entry = steering_identity(steering);
    entry["file"] = steering.file;
    if (steering.effect.gate) entry["gate_file"] = steering.effect.gate->file;
    entry["concept"] = steering.concept_name;
    entry["labels"] = {{"positive", steering.positive_label}, {"negative", steering.negative_label}};
    return entry;
}

json clip_record(const ClipSettings& settings, const ClipSpec& clip) {
    json steering = json::array();
    for (const AppliedSteering& vector : clip.steering) steering.push_back(steering_json(vector));
    json record = {
        {"musicsteer", settings.version},
        {"model", {{"name", settings.model_name}, {"weights_sha256", settings.weights_sha256}}},
        {"prompt", clip.prompt ? json(*clip.prompt) : json()},
        {"seed", clip.seed},
        {"duration_s", settings.duration_s},
        {"num_frames", settings.num_frames},
        {"sample_rate_hz", settings.sample_rate_hz},
        {"format", settings.sample_format},
        {"guidance_scale", settings.sampling.guidance_scale},
        {"top_k", settings.sampling.top_k},
        {"top_p", settings.sampling.top_p},
        {"temperature", settings.sampling.temperature},
        {"steering", std::move(steering)},
        {"execution", execution_json(settings, clip.text_length)},
    };
    if (clip.negative_prompt) record["negative_prompt"] = *clip.negative_prompt;
    return record;
}

std::string clip_id(const ClipSettings& settings, const ClipSpec& clip) {
    json identity = clip_record(settings, clip);
    identity["model"] = settings.weights_sha256;
    identity.erase("duration_s");  // num_frames says it
    identity["steering"] = json::array();
    for (const AppliedSteering& vector : clip.steering)
        identity["steering"].push_back(steering_identity(vector));
    return sha256_of(identity.dump()).substr(0, kIdDigits);  // keys are sorted, numbers in shortest form
}

}  // namespace musicsteer
