#include "recordings/hearing.hpp"

#include <ATen/ATen.h>

#include "generation/clip_runner.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

void HearingOptions::validate() const {
    if (points.empty()) throw UsageError("no hook point to record");
    if (rows == RecordedRows::kBoth && !(caption && sampling.guided())) {
        throw UsageError(
            "rows both: without a caption and guidance there is only one row; give a caption, or "
            "read conditional rows");
    }
}

at::Tensor encode_audio(const Model& model, const Audio& audio, std::int64_t num_frames) {
    const at::Tensor interleaved =
        at::tensor(audio.samples, at::kFloat).view({audio.frames(), audio.channels});
    const at::Tensor codes = model.codec.encode(interleaved.t().contiguous().unsqueeze(0)).squeeze(0);
    return codes.narrow(1, 0, num_frames).contiguous();
}

void hear(std::map<std::string, PooledSide>& side, const Model& model, const at::Tensor& codes,
          const HearingOptions& options) {
    const Manifest& manifest = model.manifest();
    ClipRunOptions run;
    run.num_frames = codes.size(1);
    run.sampling = options.sampling;
    run.given_columns = kPrefillChunk;
    run.batch_size = 1;
    run.with_audio = false;
    run.stop = options.stop;
    const PositionRange positions =
        parse_positions(options.positions, run.num_frames, manifest.codec.frame_rate_hz);
    std::optional<ActivationMeans> means;
    run.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
        means.emplace(session.hooks(), options.points, 1, manifest.decoder.hidden_size, positions,
                      options.rows);
    };
    SessionRequest request;
    request.prompt = options.caption.value_or("");
    request.unconditional = !options.caption;
    request.forced_codes = codes;
    const std::int64_t text_length = text_length_for(model.tokenizer, {&request, 1});
    ClipRunner(model, std::move(run), 1, text_length).run({&request, 1}, [&](const FinishedBatch&) {
        for (const HookPoint& point : options.points)
            side[point.name()].append(means->mean(point), means->mean_norm(point));
    });
}

}  // namespace musicsteer
