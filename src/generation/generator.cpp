#include "generation/generator.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/errors.hpp"
#include "model/memory.hpp"

namespace musicsteer {
namespace {

constexpr std::int64_t kDefaultBatchSize = 16;

/// samples [C, N] -> interleaved
Audio to_audio(const at::Tensor& samples, std::int64_t sample_rate_hz) {
    const at::Tensor interleaved = samples.t().contiguous();
    Audio audio;
    audio.channels = samples.size(0);
    audio.sample_rate_hz = sample_rate_hz;
    audio.samples.assign(interleaved.data_ptr<float>(), interleaved.data_ptr<float>() + interleaved.numel());
    return audio;
}

void check_memory(const Model& model, std::int64_t batch_size, const SessionOptions& options) {
    BatchShape shape;
    shape.rows = batch_size * (options.sampling.guided() ? 2 : 1);
    shape.frames = options.num_frames;
    shape.texts = shape.rows;
    shape.text_length = options.text_length;
    require_memory(estimate_memory(model.manifest(), shape), available_memory());
}

}  // namespace

void GeneratorOptions::validate(const Manifest& manifest) const {
    if (!std::isfinite(duration_s) || duration_s <= 0.0)
        throw UsageError("duration must be more than 0 seconds");
    if (batch_size < 0) throw UsageError("batch size must be at least 1");
    SessionOptions session;
    session.num_frames = manifest.frames_of(duration_s);
    session.sampling = sampling;
    session.validate(manifest);
}

std::int64_t resolve_batch_size(std::int64_t batch_size, std::int64_t requests) {
    return batch_size > 0 ? batch_size : std::clamp<std::int64_t>(requests, 1, kDefaultBatchSize);
}

std::vector<SessionRequest> fill_batch(std::vector<SessionRequest> requests, std::int64_t batch_size) {
    while (static_cast<std::int64_t>(requests.size()) < batch_size) requests.push_back(requests.back());
    return requests;
}

Audio decode_clip(const Model& model, const at::Tensor& codes) {
    return to_audio(model.codec.decode(codes)[0], model.manifest().codec.sample_rate_hz);
}

void run_session(GenerationSession& session, const std::stop_token& stop,
                 const std::function<void(std::int64_t columns)>& on_columns) {
    while (!session.done()) {
        if (stop.stop_requested()) throw Interrupted("interrupted");
        const StepResult result = session.step();
        if (on_columns) on_columns(result.columns);
    }
}

void generate(const Model& model, const std::vector<SessionRequest>& requests,
              const GeneratorOptions& options,
              const std::function<void(std::size_t index, Clip clip)>& sink) {
    options.validate(model.manifest());
    if (requests.empty()) return;
    SessionOptions session_options;
    session_options.num_frames = model.manifest().frames_of(options.duration_s);
    session_options.sampling = options.sampling;
    session_options.text_length = text_length_for(model.tokenizer, requests);
    const auto total = static_cast<std::int64_t>(requests.size());
    const std::int64_t batch_size = resolve_batch_size(options.batch_size, total);
    check_memory(model, batch_size, session_options);

    const std::int64_t batches = (total + batch_size - 1) / batch_size;
    std::int64_t columns_done = 0;
    for (std::int64_t batch = 0; batch < batches; ++batch) {
        const std::int64_t first = batch * batch_size;
        const std::int64_t count = std::min(batch_size, total - first);
        const std::vector<SessionRequest> part(requests.begin() + first, requests.begin() + first + count);
        GenerationSession session(model, fill_batch(part, batch_size), session_options);
        const std::int64_t columns_total = batches * session.num_positions();
        run_session(session, options.stop, [&](std::int64_t columns) {
            columns_done += columns;
            if (options.on_progress) options.on_progress(columns_done, columns_total);
        });
        const at::Tensor codes = session.codes();
        for (std::int64_t i = 0; i < count; ++i) {
            if (options.stop.stop_requested()) throw Interrupted("interrupted");
            const at::Tensor of_clip = codes.narrow(0, i, 1);  // one by one: fastest, least memory
            sink(static_cast<std::size_t>(first + i), Clip{codes[i], decode_clip(model, of_clip)});
        }
    }
}

}  // namespace musicsteer
