#include "experiments/trials.hpp"

#include "model/memory.hpp"

namespace musicsteer {
namespace {

ClipRunOptions run_options(const Manifest& manifest, const TrialOptions& options) {
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(options.duration_s);
    run.sampling = options.sampling;
    run.on_non_finite = NonFinitePolicy::kDropRequest;
    run.batch_size = options.batch_size;
    run.memory = options.memory;
    run.scored = ScoredClips::kSteered;
    run.on_progress = options.on_progress;
    run.on_warning = options.on_warning;
    run.stop = options.stop;
    return run;
}

}  // namespace

TrialRunner::TrialRunner(const Model& model, TrialOptions options)
    : measuring_(options.measuring),
      own_(options.own),
      runner_(model, run_options(model.manifest(), options), kMaxDefaultBatch, options.text_length) {}

std::vector<Trial> TrialRunner::run(std::span<const SessionRequest> requests) const {
    std::vector<Trial> trials;
    runner_.run(requests, [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const FinishedClip& clip = batch.clips[i];
            Trial& trial = trials.emplace_back();
            trial.failure = clip.failure;
            if (!clip.failure.empty()) continue;
            trial.measures = measure_audio(as_written(batch.audio(i), SampleFormat::kPcm16), measuring_);
            if (own_ != nullptr) trial.own = own_->measure(batch.audio(i), SampleFormat::kPcm16);
            trial.kl_nats = clip.score->kl_nats;
        }
    });
    return trials;
}

}  // namespace musicsteer
