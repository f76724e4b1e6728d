#include "experiments/clip_record.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

#include "io/sha256.hpp"
#include "musicsteer/metrics.hpp"
#include "steering/setting_fields.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr std::size_t kIdDigits = 20;

}  // namespace

json execution_json(const ClipSettings& settings) {
    return {{"batch_size", settings.batch_size},
            {"threads", settings.threads},
            {"device", settings.device},
            {"precision", settings.precision}};
}

std::string program_version() {
    return MUSICSTEER_VERSION;
}

std::vector<std::string> table_columns() {
    std::vector<std::string> columns = {"id", "file", "prompt", "negative_prompt", "seed", "concept"};
    for (const SettingField& field : setting_fields()) columns.emplace_back(field.key);
    columns.insert(columns.end(), kMeasureNames.begin(), kMeasureNames.end());
    columns.insert(columns.end(), {"kl_nats", "audio_sha256"});
    return columns;
}

ClipSettings ClipSettings::of(const Manifest& manifest, double duration_s, const SamplingOptions& sampling) {
    ClipSettings settings;
    settings.model_name = manifest.model_name;
    settings.weights_sha256 = manifest.weights_sha256;
    settings.duration_s = duration_s;
    settings.num_frames = manifest.frames_of(duration_s);
    if (const WindowShape shape = WindowShape::of(manifest); settings.num_frames > shape.length)
        settings.windows = shape;
    settings.sample_rate_hz = manifest.codec.sample_rate_hz;
    settings.sampling = sampling;
    settings.precision = manifest.precision;
    return settings;
}

json clip_record(const ClipSettings& settings, const ClipSpec& clip) {
    json steering = json::array();
    for (const SteeringSetting& setting : clip.steering) steering.push_back(setting_json(setting));
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
        {"execution", execution_json(settings)},
    };
    record["execution"]["text_length"] = clip.text_length;
    if (clip.negative_prompt) record["negative_prompt"] = *clip.negative_prompt;
    if (!clip.sections.empty()) record["sections"] = sections_json(clip.sections);
    if (clip.continued) {
        record["continued"] = {{"file", clip.continued->file},
                               {"sha256", clip.continued->sha256},
                               {"frames", clip.continued->frames}};
    }
    if (settings.windows)
        record["windows"] = {{"frames", settings.windows->length}, {"stride", settings.windows->stride}};
    if (!settings.melody_sha256.empty()) record["melody_sha256"] = settings.melody_sha256;
    return record;
}

ClipIds::ClipIds(const ClipSettings& settings, ClipSpec clip) {
    clip.seed = 0;
    clip.steering.clear();
    json identity = clip_record(settings, clip);
    identity["model"] = settings.weights_sha256;
    identity.erase("duration_s");              // implied by num_frames
    const std::string text = identity.dump();  // keys are sorted, numbers in shortest form
    // Quotes in texts are escaped, so this occurs nowhere else.
    constexpr std::string_view kPlace = R"("seed":0,"steering":[])";
    const std::size_t place = text.find(kPlace);
    before_seed_ = text.substr(0, place) + R"("seed":)";
    after_steering_ = text.substr(place + kPlace.size());
}

std::string ClipIds::steering_text(const std::vector<SteeringSetting>& steering) {
    json list = json::array();
    for (const SteeringSetting& setting : steering) list.push_back(setting_identity(setting));
    return list.dump();
}

std::string ClipIds::id(std::uint64_t seed, const std::string& steering) const {
    return sha256_of(before_seed_ + std::to_string(seed) + R"(,"steering":)" + steering + after_steering_)
        .substr(0, kIdDigits);
}

std::string clip_id(const ClipSettings& settings, const ClipSpec& clip) {
    return ClipIds(settings, clip).id(clip.seed, ClipIds::steering_text(clip.steering));
}

}  // namespace musicsteer
