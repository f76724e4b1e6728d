#include "generation/clip_runner.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>

#include "model/memory.hpp"
#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using Clock = std::chrono::steady_clock;

bool is_steered(const SessionRequest& request) {
    const auto plans = plans_of(request);
    return std::any_of(plans.begin(), plans.end(), [](const SteeringPlan& plan) {
        return std::any_of(plan.begin(), plan.end(),
                           [](const Injection& injection) { return injection.strength != 0.0; });
    });
}

ClipNeeds needs_of(const ClipRunOptions& options, const Manifest& manifest, std::int64_t text_length) {
    const WindowShape windows = options.windows.value_or(WindowShape::of(manifest));
    ClipNeeds needs;
    needs.frames = options.num_frames;
    needs.window_frames = windows.length;
    needs.text_length = text_length;
    needs.guided = options.sampling.guided();
    needs.scored = options.scored != ScoredClips::kNone;
    needs.columns = std::max<std::int64_t>({1, options.given_columns, needs.scored ? kScoringColumns : 0,
                                            options.num_frames > windows.length ? kPrefillChunk : 0});
    needs.decoded = options.with_audio;
    needs.references = std::ssize(options.references);
    needs.recorded = options.recorded_bytes;
    return needs;
}

SessionOptions session_options(const ClipRunOptions& options, std::int64_t text_length) {
    SessionOptions session;
    session.num_frames = options.num_frames;
    session.windows = options.windows;
    session.run_given_windows = options.run_given_windows;
    session.sampling = options.sampling;
    if (options.given_columns > 0) session.prefill_chunk = options.given_columns;
    session.text_length = text_length;
    session.on_non_finite = options.on_non_finite;
    session.stop = options.stop;
    return session;
}

/// samples [C, N] -> interleaved
Audio to_audio(const at::Tensor& samples, std::int64_t sample_rate_hz) {
    const at::Tensor interleaved = samples.t().contiguous();
    Audio audio;
    audio.channels = samples.size(0);
    audio.sample_rate_hz = sample_rate_hz;
    audio.samples.assign(interleaved.data_ptr<float>(), interleaved.data_ptr<float>() + interleaved.numel());
    return audio;
}

}  // namespace

void ClipRunOptions::validate(const Manifest& manifest) const {
    if (batch_size < 0) throw UsageError("batch size must be at least 1");
    session_options(*this, 0).validate(manifest);
}

std::optional<std::string> warning_of_text_length(std::int64_t text_length) {
    if (text_length <= kTrainedTextTokens) return std::nullopt;
    return "a prompt has more than " + std::to_string(kTrainedTextTokens) +
           " tokens, more than T5 was trained on: its end may have little effect";
}

Audio FinishedBatch::audio(std::size_t index) const {
    if (stop_.stop_requested()) throw Interrupted("interrupted");
    return with_our_errors("codec", [&] {
        const at::Tensor samples = model_.codec.decode(clips.at(index).codes.unsqueeze(0));
        return to_audio(samples[0], model_.manifest().codec.sample_rate_hz);
    });
}

ClipRunner::ClipRunner(const Model& model, ClipRunOptions options, std::size_t clips,
                       std::int64_t text_length)
    : model_(model), options_(std::move(options)) {
    options_.validate(model.manifest());
    if (options_.threads > 0) set_num_threads(options_.threads);
    const ClipNeeds needs = needs_of(options_, model.manifest(), text_length);
    const bool is_default = options_.batch_size == 0;
    const std::uint64_t available = available_memory(model.bundle.device());
    const std::uint64_t wanted = options_.memory > 0 ? options_.memory : available / 2;
    shape_.batch_size =
        is_default ? default_batch_size(model.manifest(), needs, static_cast<std::int64_t>(clips), wanted)
                   : options_.batch_size;
    shape_.text_length = text_length;
    shape_.threads = at::get_num_threads();
    require_memory(estimate_memory(model.manifest(), needs, shape_.batch_size),
                   is_default && options_.memory > 0 ? options_.memory : available);
    model.text_encoder.require_text_memory(text_length);
    if (const auto warning = warning_of_text_length(text_length); warning && options_.on_warning)
        options_.on_warning(*warning);
}

void ClipRunner::run(std::span<const SessionRequest> requests, const Sink& sink) const {
    run(
        requests.size(), [&](std::size_t index) { return requests[index]; }, sink);
}

void ClipRunner::run(std::size_t clips, const RequestOf& request_of, const Sink& sink) const {
    const auto batch_size = static_cast<std::size_t>(shape_.batch_size);
    for (std::size_t first = 0; first < clips; first += batch_size) {
        const std::size_t count = std::min(batch_size, clips - first);
        const FinishedBatch batch =
            with_our_errors("a batch", [&] { return run_batch(first, count, request_of); });
        sink(batch);
        if (batch.is_partial) throw Interrupted("interrupted");
    }
}

FinishedBatch ClipRunner::run_batch(std::size_t first, std::size_t count, const RequestOf& request_of) const {
    const c10::InferenceMode guard;
    const auto start = Clock::now();
    const std::size_t references = options_.references.size();
    std::vector<SessionRequest> requests = options_.references;
    for (std::size_t i = 0; i < count; ++i) requests.push_back(request_of(first + i));
    if (options_.melody.chroma.defined())
        for (SessionRequest& request : requests) request.melody = options_.melody.chroma;
    std::vector<SessionRequest> filled = requests;
    filled.resize(references + static_cast<std::size_t>(shape_.batch_size), requests.back());
    GenerationSession session(model_, std::move(filled), session_options(options_, shape_.text_length));
    if (options_.on_session) options_.on_session(session, first, count);
    FinishedBatch batch(model_, options_.keep_partial ? std::stop_token() : options_.stop);
    batch.first = first;
    try {
        while (!session.done()) {
            const StepResult step = session.step();
            if (options_.on_step) options_.on_step(session, step);
            if (options_.on_progress)
                options_.on_progress(static_cast<double>(first) +
                                     session.progress() * static_cast<double>(count));
        }
    } catch (const Interrupted&) {
        if (!options_.keep_partial || session.finished_frames() == 0) throw;
        batch.is_partial = true;
    }
    batch.start = start;
    batch.decoder_s = std::chrono::duration<double>(Clock::now() - start).count();
    const at::Tensor codes =
        batch.is_partial ? session.codes().narrow(2, 0, session.finished_frames()) : session.codes();
    for (std::size_t i = 0; i < count; ++i) {
        const auto row = static_cast<std::int64_t>(references + i);
        FinishedClip& clip = batch.clips.emplace_back();
        clip.codes = codes[row];
        if (const auto failure = session.failures().find(row); failure != session.failures().end())
            clip.failure = failure->second;
    }
    if (options_.scored != ScoredClips::kNone && !batch.is_partial)
        score(std::span(requests).subspan(references), batch.clips);
    return batch;
}

void ClipRunner::score(std::span<const SessionRequest> requests, std::vector<FinishedClip>& clips) const {
    std::vector<SessionRequest> wanted;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        if (!clips[i].failure.empty()) continue;
        if (options_.scored == ScoredClips::kSteered && !is_steered(requests[i])) {
            clips[i].score = ClipScore{};
            continue;
        }
        wanted.push_back(requests[i]);
        wanted.back().forced_codes = clips[i].codes;
        places.push_back(i);
    }
    ScoringOptions scoring;
    scoring.sampling = options_.sampling;
    scoring.windows = options_.windows;
    if (const at::Tensor& given = requests.front().forced_codes; given.defined())
        scoring.first_frame = given.size(1);
    scoring.batch_size = shape_.batch_size;
    scoring.text_length = shape_.text_length;
    scoring.stop = options_.stop;
    const std::vector<ScoreOrFailure> scores = score_each_clip(model_, wanted, scoring);
    for (std::size_t i = 0; i < scores.size(); ++i) {
        FinishedClip& clip = clips[places[i]];
        clip.score = scores[i].score;
        clip.failure = scores[i].failure;
        if (clip.score && !is_steered(wanted[i])) clip.score->kl_nats = 0.0;  // exactly, without rounding
    }
}

}  // namespace musicsteer
