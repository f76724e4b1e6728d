#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "audio/metrics.hpp"
#include "base/errors.hpp"
#include "experiments/study/study.hpp"
#include "experiments/study/study_split.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/sha256.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMinSeeds = 8;       // four to choose on and four to confirm on: intervals need them
constexpr std::int64_t kScreenedWays = 7;  // of the strategies stage, at most
constexpr std::int64_t kStrengths = 14;    // of the strength stage, at most

json identity(const StudyRequest& request, const Manifest& manifest) {
    const SweepRequest& clips = request.clips;
    json result = FileFormat{"musicsteer-study-request"}.stamp();
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
    set("duration_s", clips.duration_s);
    set("guidance_scale", clips.guidance_scale);
    set("top_k", clips.top_k);
    set("top_p", clips.top_p);
    set("temperature", clips.temperature);
    set("batch_size", clips.batch_size);
    set("tempo_prior", clips.tempo_prior);
    return result;
}

}  // namespace

void StudyRequest::validate() const {
    std::vector<std::string> measures;
    for (const std::string name : kMeasureNames)
        if (name != "duration_s" && name != "sample_rate_hz") measures.push_back(name);
    if (std::find(measures.begin(), measures.end(), measure) == measures.end()) {
        std::string known;
        for (const std::string& name : measures) known += (known.empty() ? "" : ", ") + name;
        throw UsageError("unknown measure " + in_quotes(measure) + did_you_mean(measure, measures) +
                         " (measures: " + known + ")");
    }
    if (std::set(seeds.begin(), seeds.end()).size() != seeds.size())
        throw UsageError("a seed is given twice");
    if (seeds.size() < kMinSeeds) {
        throw UsageError("expected at least " + std::to_string(kMinSeeds) +
                         " seeds, half to choose a setting and half to confirm it, found " +
                         std::to_string(seeds.size()) + ": intervals need four a half");
    }
    if (!std::isfinite(max_kl_nats) || max_kl_nats <= 0.0)
        throw UsageError("the KL cap must be more than 0 nats");
    if (controls < 2 || controls > 1000) throw UsageError("expected 2 to 1000 random vectors");
    if (clips.tempo_prior) (void)TempoPrior::parse(*clips.tempo_prior);
    if (clips.prompts.empty()) throw UsageError("no prompts are given");
}

std::int64_t max_study_clips(const StudyRequest& request, std::int64_t layers) {
    const StudySplit split(request);
    const std::int64_t prompts = std::ssize(split.choosing_prompts);
    const std::int64_t screened = prompts * std::ssize(split.screening_seeds);
    const std::int64_t confirmed = std::ssize(split.confirming_prompts) * std::ssize(split.confirming_seeds);
    constexpr std::int64_t kBoth = 2;  // the vector and a random one
    return screened * (1 + 2 * kBoth * layers) + screened * (1 + 2 * kBoth * kScreenedWays) +
           prompts * std::ssize(split.choosing_seeds) * (1 + kBoth * kStrengths) +
           confirmed * (1 + 4 * (1 + request.controls));
}

void claim_study_folder(const StudyRequest& request, const Manifest& manifest, const fs::path& folder) {
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
                              " but no request.json, so no study of ours: choose another --out");
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
