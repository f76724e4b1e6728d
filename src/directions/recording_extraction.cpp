#include "directions/recording_extraction.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <nlohmann/json.hpp>

#include "generation/clip_runner.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// [K, N] int64
at::Tensor encoded(const Model& model, const Recording& recording) {
    const Audio& audio = recording.audio;
    const at::Tensor interleaved =
        at::tensor(audio.samples, at::kFloat).view({audio.frames(), audio.channels});
    const at::Tensor codes = model.codec.encode(interleaved.t().contiguous().unsqueeze(0)).squeeze(0);
    return codes.narrow(1, 0, recording.num_frames).contiguous();
}

SessionRequest request_of(const at::Tensor& codes, const RecordingExtractionOptions& options) {
    SessionRequest request;
    request.prompt = options.caption.value_or("");
    request.unconditional = !options.caption;
    request.forced_codes = codes;
    return request;
}

/// One recording at a time, so that its bits do not depend on the others.
void append(std::map<std::string, PooledSide>& side, const Model& model, const Recording& recording,
            const RecordingExtractionOptions& options) {
    const Manifest& manifest = model.manifest();
    ClipRunOptions run;
    run.num_frames = recording.num_frames;
    run.sampling = options.sampling;
    run.given_columns = kPrefillChunk;
    run.batch_size = 1;
    run.with_audio = false;
    run.stop = options.stop;
    const PositionRange positions =
        parse_positions(options.positions, recording.num_frames, manifest.codec.frame_rate_hz);
    std::optional<ActivationMeans> means;
    run.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
        means.emplace(session.hooks(), options.points, 1, manifest.decoder.hidden_size, positions,
                      options.rows);
    };
    const SessionRequest request = request_of(encoded(model, recording), options);
    const std::int64_t text_length = text_length_for(model.tokenizer, {&request, 1});
    ClipRunner(model, std::move(run), 1, text_length).run({&request, 1}, [&](const FinishedBatch&) {
        for (const HookPoint& point : options.points)
            side[point.name()].append(means->mean(point), means->mean_norm(point));
    });
}

/// SHA-256 of the list of every file's SHA-256, in order, positive side first.
std::string hash_of(const RecordingSides& sides) {
    std::string text;
    for (const auto* side : {&sides.positive, &sides.negative}) {
        for (const Recording& recording : *side) text += recording.sha256 + "\n";
        text += "\n";
    }
    return sha256_of(text);
}

Provenance provenance_of(const Model& model, const RecordingSides& sides,
                         const RecordingExtractionOptions& options) {
    Provenance p = pooling_provenance(options, model.manifest());
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

std::vector<double> values_of(const std::vector<Recording>& side) {
    std::vector<double> values;
    for (const Recording& recording : side)
        if (recording.value) values.push_back(*recording.value);
    return values;
}

}  // namespace

void RecordingExtractionOptions::validate() const {
    if (points.empty()) throw UsageError("no hook point to record");
    if (rows == RecordedRows::kBoth && !(caption && sampling.guided())) {
        throw UsageError(
            "rows both: without a caption and guidance there is only one row; give a caption, or "
            "read conditional rows");
    }
}

ActivationFile record_recordings(const Model& model, const RecordingSides& sides,
                                 const RecordingExtractionOptions& options) {
    options.validate();
    const c10::InferenceMode guard;
    ActivationFile result;
    result.provenance = provenance_of(model, sides, options);
    result.relations.positive_values = values_of(sides.positive);
    result.relations.negative_values = values_of(sides.negative);
    const auto total = static_cast<std::int64_t>(sides.positive.size() + sides.negative.size());
    std::int64_t done = 0;
    for (const auto& [recordings, pooled] :
         {std::pair{&sides.positive, &result.positive}, std::pair{&sides.negative, &result.negative}}) {
        for (const Recording& recording : *recordings) {
            append(*pooled, model, recording, options);
            if (options.on_progress) options.on_progress(++done, total);
        }
    }
    return result;
}

}  // namespace musicsteer
