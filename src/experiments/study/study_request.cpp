#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "experiments/measure_target.hpp"
#include "experiments/study/study.hpp"
#include "experiments/study/study_split.hpp"
#include "io/atomic_file.hpp"
#include "io/bundle_guard.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMinSeeds = 8;         // intervals need four to choose on and four to confirm on
constexpr std::size_t kMaxLayers = 12;       // neighbours do nearly the same
constexpr std::int64_t kStrengths = 14;      // of the strength stage, at most
constexpr std::int64_t kRangeStrengths = 4;  // of the recommendation's check

json identity(const StudyRequest& request, const Manifest& manifest) {
    const SweepRequest& clips = request.clips;
    json result = FileFormat{"musicsteer-study-request", 2, 2}.stamp();
    const auto set = [&](const char* key, const auto& value) { result[key] = value ? json(*value) : json(); };
    result["musicsteer"] = program_version();
    result["weights_sha256"] = manifest.weights_sha256;
    result["precision"] = manifest.precision;
    result["device"] = clips.device.value_or("cpu");
    result["vector_sha256"] = sha256_of_file(request.vector);
    result["measure"] = request.measure;
    result["prompts"] = clips.prompts;
    result["seeds"] = request.seeds;
    result["max_kl_nats"] = request.max_kl_nats;
    result["controls"] = request.controls;
    result["audio"] = clips.audio;
    result["grids"] = grids_json(SoundGrids::of(manifest.codec.sample_rate_hz));
    if (!clips.melody.empty()) result["melody_sha256"] = sha256_of_file(clips.melody);
    set("duration_s", clips.duration_s);
    set("guidance_scale", clips.guidance_scale);
    set("top_k", clips.top_k);
    set("top_p", clips.top_p);
    set("temperature", clips.temperature);
    set("batch_size", clips.batch_size);
    set("tempo_prior", clips.tempo_prior);
    if (!clips.measure_command.empty()) result["measure_command"] = clips.measure_command;
    return result;
}

}  // namespace

void StudyRequest::validate() const {
    if (parse_measure_name(measure, own_measures) != measure)
        throw UsageError("unknown measure " + in_quotes(measure));
    if (std::set(seeds.begin(), seeds.end()).size() != seeds.size())
        throw UsageError("a seed is given twice");
    if (seeds.size() < kMinSeeds) {
        throw UsageError("expected at least " + std::to_string(kMinSeeds) +
                         " seeds, half to choose a setting and half to confirm it, found " +
                         std::to_string(seeds.size()) + ": intervals need four a half");
    }
    if (!std::isfinite(max_kl_nats) || max_kl_nats <= 0.0)
        throw UsageError("the KL cap must be more than 0 nats");
    if (controls < static_cast<std::int64_t>(kMinControls) || controls > 1000) {
        throw UsageError("expected " + std::to_string(kMinControls) + " to 1000 random vectors, found " +
                         std::to_string(controls));
    }
    if (clips.tempo_prior) (void)TempoPrior::parse(*clips.tempo_prior);
    if (clips.prompts.empty()) throw UsageError("no prompts are given");
    std::set<std::string> seen;
    for (const std::string& prompt : clips.prompts) {
        if (!seen.insert(prompt).second)
            throw UsageError("the prompt " + in_quotes(prompt) +
                             " is given twice, and would both choose a setting and confirm it");
    }
}

std::vector<std::int64_t> layers_to_try(const std::vector<std::int64_t>& layers) {
    if (layers.size() <= kMaxLayers) return layers;
    std::vector<std::int64_t> tried;
    for (std::size_t i = 0; i < kMaxLayers; ++i)
        tried.push_back(layers[i * (layers.size() - 1) / (kMaxLayers - 1)]);
    return tried;
}

std::size_t held_out_pairs(const StudyRequest& request) {
    const StudySplit split(request);
    return split.confirming_prompts.size() * split.confirming_seeds.size();
}

std::size_t held_out_units(const StudyRequest& request) {
    const StudySplit split(request);
    const std::size_t prompts = split.confirming_prompts.size();
    return prompts >= kMinPromptClusters ? prompts : split.confirming_seeds.size();
}

std::int64_t max_study_clips(const StudyRequest& request, std::int64_t layers, bool guided) {
    const StudySplit split(request);
    const std::int64_t screened = std::ssize(split.screening_prompts) * std::ssize(split.screening_seeds);
    const std::int64_t chosen = std::ssize(split.choosing_prompts) * std::ssize(split.choosing_seeds);
    const std::int64_t vectors = 1 + request.controls;
    const std::int64_t tried = std::min(layers, static_cast<std::int64_t>(kMaxLayers));
    constexpr std::int64_t kSigns = 2;
    const std::int64_t strategies = guided ? 6 : 3;
    const auto held_out = static_cast<std::int64_t>(held_out_pairs(request));
    return screened * (1 + kSigns * tried * vectors) + screened * (1 + kSigns * strategies * vectors) +
           chosen * (1 + kStrengths) + held_out * (1 + kRangeStrengths + kSigns * vectors);
}

void claim_study_folder(const StudyRequest& request, const Manifest& manifest, const fs::path& folder) {
    require_outside_bundle(folder);
    const json wanted = identity(request, manifest);
    const fs::path file = folder / "request.json";
    std::error_code error;
    if (!fs::exists(file, error)) {
        if (fs::exists(folder, error) && !fs::is_directory(folder, error))
            throw OutputError(folder.string() + ": expected a folder, found a file");
        for (const auto& entry : fs::directory_iterator(folder, error)) {
            const std::string name = entry.path().filename().string();
            if (name.starts_with('.')) continue;
            throw OutputError(folder.string() + ": holds " + in_quotes(name) +
                              " but no request.json, so it is not a study: choose another --out");
        }
        write_file_atomically(file, wanted.dump(2) + "\n", Overwrite::kRefuse);
        return;
    }
    const json earlier = json::parse(read_text_file(file), nullptr, false);
    for (const auto& [key, value] : wanted.items()) {
        if (earlier.is_object() && earlier.contains(key) && earlier.at(key) == value) continue;
        throw InputError(folder.string() + ": belongs to another study: " + key +
                         " differs from its request.json; choose another --out");
    }
}

}  // namespace musicsteer
