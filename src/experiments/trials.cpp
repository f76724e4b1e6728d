#include "experiments/trials.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/errors.hpp"
#include "generation/generator.hpp"
#include "generation/scoring.hpp"
#include "model/memory.hpp"

namespace musicsteer {
namespace {

/// Rows of generation, or of scoring, which runs every clip steered and unsteered but keeps no noise: what is
/// larger decides, and scoring has twice the rows.
std::uint64_t memory_of(const Manifest& manifest, const TrialOptions& options, std::int64_t batch_size) {
    BatchShape shape;
    shape.rows = batch_size * (options.sampling.guided() ? 4 : 2);
    shape.frames = manifest.frames_of(options.duration_s);
    shape.texts = shape.rows;
    shape.text_length = options.text_length;
    shape.columns = kScoringColumns;
    return estimate_memory(manifest, shape).total();
}

std::int64_t max_batch(const Manifest& manifest, const TrialOptions& options) {
    std::int64_t batch_size = kMaxDefaultBatch;
    while (batch_size > 1 && memory_of(manifest, options, batch_size) > options.memory) batch_size /= 2;
    const std::uint64_t least = memory_of(manifest, options, batch_size);
    if (least > options.memory) {
        throw ResourceError("one clip at a time needs about " + format_bytes(least) +
                            " of memory beside the model, the budget is " + format_bytes(options.memory) +
                            ": use a shorter --duration");
    }
    return batch_size;
}

bool is_steered(const SessionRequest& request) {
    return std::any_of(request.steering.begin(), request.steering.end(),
                       [](const Injection& injection) { return injection.strength != 0.0; });
}

}  // namespace

TrialRunner::TrialRunner(const Model& model, TrialOptions options)
    : model_(model), options_(std::move(options)) {
    GeneratorOptions generator;
    generator.duration_s = options_.duration_s;
    generator.sampling = options_.sampling;
    generator.batch_size = options_.batch_size;
    generator.validate(model.manifest());
    if (options_.batch_size == 0) options_.batch_size = max_batch(model.manifest(), options_);
}

std::vector<Trial> TrialRunner::run(std::span<const SessionRequest> requests) const {
    std::vector<Trial> trials;
    const auto batch = static_cast<std::size_t>(options_.batch_size);
    for (std::size_t first = 0; first < requests.size(); first += batch) {
        const std::size_t count = std::min(batch, requests.size() - first);
        run_batch(requests.subspan(first, count), static_cast<double>(first), trials);
    }
    return trials;
}

void TrialRunner::run_batch(std::span<const SessionRequest> requests, double clips_before,
                            std::vector<Trial>& trials) const {
    SessionOptions session_options;
    session_options.num_frames = model_.manifest().frames_of(options_.duration_s);
    session_options.sampling = options_.sampling;
    session_options.text_length = options_.text_length;
    session_options.on_non_finite = NonFinitePolicy::kDropRequest;
    GenerationSession session(model_, fill_batch({requests.begin(), requests.end()}, options_.batch_size),
                              session_options);
    run_session(session, options_.stop, [&](std::int64_t) {
        if (!options_.on_progress) return;
        const double share =
            static_cast<double>(session.position()) / static_cast<double>(session.num_positions());
        options_.on_progress(clips_before + share * static_cast<double>(requests.size()));
    });
    const at::Tensor codes = session.codes();
    std::vector<Trial> of_batch(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
        if (options_.stop.stop_requested()) throw Interrupted("interrupted");
        const auto row = static_cast<std::int64_t>(i);
        if (const auto failure = session.failures().find(row); failure != session.failures().end()) {
            of_batch[i].failure = failure->second;
            continue;
        }
        const Audio audio = decode_clip(model_, codes.narrow(0, row, 1));
        of_batch[i].measures = measure_audio(as_written(audio, SampleFormat::kPcm16), options_.measuring);
    }
    score(requests, codes, of_batch);
    trials.insert(trials.end(), of_batch.begin(), of_batch.end());
}

void TrialRunner::score(std::span<const SessionRequest> requests, const at::Tensor& codes,
                        std::span<Trial> trials) const {
    std::vector<SessionRequest> steered;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        if (!trials[i].measures || !is_steered(requests[i])) continue;
        steered.push_back(requests[i]);
        steered.back().forced_codes = codes[static_cast<std::int64_t>(i)];
        places.push_back(i);
    }
    ScoringOptions scoring;
    scoring.sampling = options_.sampling;
    scoring.batch_size = options_.batch_size;
    scoring.text_length = options_.text_length;
    scoring.stop = options_.stop;
    const std::vector<ScoreOrFailure> scores = score_each_clip(model_, steered, scoring);
    for (std::size_t i = 0; i < scores.size(); ++i) {
        Trial& trial = trials[places[i]];
        if (scores[i].score) {
            trial.kl_nats = scores[i].score->kl_nats;
        } else {
            trial.measures.reset();
            trial.failure = scores[i].failure;
        }
    }
}

}  // namespace musicsteer
