#include "recordings/recording_extraction.hpp"

#include <c10/core/InferenceMode.h>

#include <nlohmann/json.hpp>

#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// SHA-256 of the list of every file's SHA-256, in order, positive side first.
std::string hash_of(const RecordingSides& sides) {
    std::string text;
    for (const auto* side : {&sides.positive, &sides.negative}) {
        for (const Recording& recording : *side) text += recording.sha256 + "\n";
        text += "\n";
    }
    return sha256_of(text);
}

std::vector<double> values_of(const std::vector<Recording>& side) {
    std::vector<double> values;
    for (const Recording& recording : side)
        if (recording.value) values.push_back(*recording.value);
    return values;
}

}  // namespace

Provenance recording_provenance(const Manifest& manifest, const RecordingSides& sides,
                                const HearingOptions& options) {
    Provenance p = pooling_provenance(options, manifest);
    p.concept_name = sides.concept_name;
    p.positive_label = sides.positive_label;
    p.negative_label = sides.negative_label;
    p.value_name = measure_name(sides.value);
    nlohmann::json recordings = {{"skipped", sides.skipped}};
    recordings["caption"] = options.caption ? nlohmann::json(*options.caption) : nlohmann::json();
    p.recordings = recordings.dump();
    p.prompts_sha256 = hash_of(sides);
    p.positive_count = static_cast<std::int64_t>(sides.positive.size());
    p.negative_count = static_cast<std::int64_t>(sides.negative.size());
    return p;
}

ActivationFile record_recordings(const Model& model, const RecordingSides& sides,
                                 const RecordingExtractionOptions& options) {
    options.validate();
    const c10::InferenceMode guard;
    ActivationFile result;
    result.provenance = recording_provenance(model.manifest(), sides, options);
    result.relations.positive_values = values_of(sides.positive);
    result.relations.negative_values = values_of(sides.negative);
    const auto total = static_cast<std::int64_t>(sides.positive.size() + sides.negative.size());
    std::int64_t done = 0;
    for (const auto& [recordings, pooled] :
         {std::pair{&sides.positive, &result.positive}, std::pair{&sides.negative, &result.negative}}) {
        for (const Recording& recording : *recordings) {
            hear(*pooled, model, encode_audio(model, recording.audio, recording.num_frames), options);
            if (options.on_progress) options.on_progress(++done, total);
        }
    }
    return result;
}

}  // namespace musicsteer
