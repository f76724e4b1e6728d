#include "recordings/like_extraction.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "generation/clip_runner.hpp"
#include "musicsteer/errors.hpp"
#include "recordings/recording_extraction.hpp"

namespace musicsteer {
namespace {

Provenance provenance_of(const Manifest& manifest, const RecordingSides& sides,
                         const LikeExtractionOptions& options, std::int64_t contrast) {
    Provenance p = recording_provenance(manifest, sides, options);
    nlohmann::json recordings = nlohmann::json::parse(p.recordings);
    recordings["folder"] = sides.positive.front().file.parent_path().string();
    for (const Recording& recording : sides.positive)
        recordings["sha256"][recording.file.filename().string()] = recording.sha256;
    recordings["contrast"] = {{"prompts", options.prompts}};
    p.recordings = recordings.dump();
    p.seed = options.seed;
    p.negative_count = contrast;
    return p;
}

SessionRequest contrast_request(const LikeExtractionOptions& options, std::size_t index) {
    SessionRequest request;
    request.prompt = options.prompts[index % options.prompts.size()];
    request.seed = options.seed + index;
    return request;
}

/// What the codec finds for the sound of codes [K, N]: [K, N] int64.
at::Tensor reencoded(const Model& model, const at::Tensor& codes) {
    const at::Tensor samples = model.codec.decode(codes.unsqueeze(0));
    return model.codec.encode(samples).squeeze(0).narrow(1, 0, codes.size(1)).contiguous();
}

}  // namespace

std::int64_t contrast_size(std::int64_t recordings, std::int64_t prompts) {
    const std::int64_t rounds = (std::max(recordings, kMinContrastClips) + prompts - 1) / prompts;
    return rounds * prompts;
}

ActivationFile record_like(const Model& model, const RecordingSides& sides,
                           const LikeExtractionOptions& options) {
    options.validate();
    const c10::InferenceMode guard;
    const std::vector<Recording>& recordings = sides.positive;
    if (recordings.empty() || options.prompts.empty())
        throw UsageError("no recordings, or no prompts for their contrast");
    const auto total =
        static_cast<std::size_t>(contrast_size(std::ssize(recordings), std::ssize(options.prompts)));
    std::vector<SessionRequest> requests;
    for (std::size_t i = 0; i < total; ++i) requests.push_back(contrast_request(options, i));

    ExtractionProgress progress(options);
    std::size_t found = 0;
    ClipRunOptions run;
    for (const Recording& recording : recordings)
        run.num_frames = std::max(run.num_frames, recording.num_frames);
    run.sampling = options.sampling;
    run.batch_size = options.batch_size > 0 ? options.batch_size : progress.batch_size();
    run.on_warning = options.on_message;
    run.on_progress = [&](double clips) {
        if (options.on_progress)
            options.on_progress(static_cast<double>(found) + clips, static_cast<std::int64_t>(total));
    };
    run.stop = options.stop;
    const ClipRunner runner(model, run, total, text_length_for(model.tokenizer, requests));

    ActivationFile result;
    result.provenance = provenance_of(model.manifest(), sides, options, static_cast<std::int64_t>(total));
    progress.resume(result, runner.shape(), options.points, total + recordings.size());
    if (!result.negative.empty())
        found = static_cast<std::size_t>(result.negative.begin()->second.means.size(0));
    runner.run(std::span(requests).subspan(found), [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const std::size_t clip = found + batch.first + i;
            const Recording& recording = recordings[clip % recordings.size()];
            const at::Tensor codes = batch.clips[i].codes.narrow(1, 0, recording.num_frames);
            hear(result.negative, model, reencoded(model, codes), options);
            if (clip >= recordings.size()) continue;
            const at::Tensor recorded = encode_audio(model, recording.audio, recording.num_frames);
            hear(result.positive, model, recorded, options);
        }
        progress.save(result);
    });
    result.unfinished.clear();
    return result;
}

}  // namespace musicsteer
