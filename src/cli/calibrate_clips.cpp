#include "calibrate_clips.hpp"

#include <algorithm>
#include <limits>

#include "experiments/measure_target.hpp"
#include "model/memory.hpp"
#include "musicsteer/metrics.hpp"

namespace musicsteer::cli {

ClipObserver::ClipObserver(const Model& model, const CalibrationSetup& setup,
                           const std::vector<AppliedVector>& vectors, ClipRunOptions options,
                           std::int64_t text_length, MeasureCommand* command)
    : setup_(setup),
      vectors_(vectors),
      manifest_(model.manifest()),
      runner_(model, with_progress(std::move(options)), kMaxDefaultBatch, text_length),
      command_(command),
      expected_(setup.options.expected_clips(vectors.size())) {}

std::optional<double> ClipObserver::seconds_left() const {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    if (made_ < 1.0) return std::nullopt;
    return std::max(0.0, static_cast<double>(expected_) - done_) * elapsed.count() / made_;
}

std::vector<Observation> ClipObserver::operator()(const std::vector<std::vector<double>>& strengths,
                                                  PairRange pairs) {
    std::vector<std::vector<ClipFigures>> figures(strengths.size(), std::vector<ClipFigures>(pairs.count));
    std::vector<Wanted> wanted;
    std::vector<SessionRequest> requests;
    for (std::size_t k = 0; k < strengths.size(); ++k) {
        const SteeringPlan plan = plan_at(strengths[k]);
        for (std::size_t i = 0; i < pairs.count; ++i) {
            const ClipFigures* known = log_ ? log_->find(strengths[k], pairs.first + i) : nullptr;
            if (known) {
                figures[k][i] = *known;
                done_ += 1.0;
                continue;
            }
            wanted.push_back({k, pairs.first + i});
            requests.push_back(request(pairs.first + i, plan));
        }
    }
    runner_.run(requests, [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const Wanted& clip = wanted[batch.first + i];
            ClipFigures& of_clip = figures[clip.condition][clip.pair - pairs.first];
            of_clip = figures_of(batch, i);
            if (log_) log_->append(strengths[clip.condition], clip.pair, of_clip);
        }
    });
    done_ += static_cast<double>(requests.size());
    made_ += static_cast<double>(requests.size());
    std::vector<Observation> observations;
    for (const std::vector<ClipFigures>& of_condition : figures) {
        Observation& observation = observations.emplace_back();
        observation.values.resize(setup_.targets.size());
        for (const ClipFigures& of_clip : of_condition) {
            observation.kl.push_back(of_clip.kl);
            for (std::size_t t = 0; t < of_clip.values.size(); ++t)
                observation.values[t].push_back(of_clip.values[t]);
        }
    }
    return observations;
}

ClipRunOptions ClipObserver::with_progress(ClipRunOptions options) {
    options.on_progress = [this](double clips) {
        const double done = done_ + clips;
        progress_.update_units(done, std::max(static_cast<std::int64_t>(done), expected_), "clips");
    };
    return options;
}

SteeringPlan ClipObserver::plan_at(const std::vector<double>& strengths) const {
    std::vector<AppliedVector> vectors = vectors_;  // tensors are shared
    for (std::size_t j = 0; j < vectors.size(); ++j) {
        vectors[j].setting.alpha = strengths[j];
        vectors[j].resolve(manifest_);
    }
    return combined_plan(vectors);
}

SessionRequest ClipObserver::request(std::size_t pair, const SteeringPlan& plan) const {
    const bool is_search = pair < setup_.options.max_pairs;
    const std::vector<std::string>& prompts = is_search ? setup_.search_prompts : setup_.check_prompts;
    SessionRequest request;
    request.prompt = prompts[pair % prompts.size()];
    request.negative_prompt = setup_.negative_prompt;
    request.seed = setup_.first_seed + pair;
    request.steering = plan;
    return request;
}

ClipFigures ClipObserver::figures_of(const FinishedBatch& batch, std::size_t index) {
    constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
    if (!batch.clips[index].failure.empty())
        return {std::vector<double>(setup_.targets.size(), kUndefined),
                std::numeric_limits<double>::infinity()};
    const Audio audio = batch.audio(index);
    const AudioMeasures measures =
        measure_audio(as_written(audio, SampleFormat::kPcm16), {setup_.tempo_prior});
    ClipFigures figures{{}, batch.clips[index].score->kl_nats};
    OwnMeasures own;
    if (command_) own = command_->measure(audio, SampleFormat::kPcm16);
    for (const MeasureTarget& target : setup_.targets) {
        const auto found = own.find(target.measure);
        const auto value = found != own.end() ? found->second : measured(measures, target.measure);
        figures.values.push_back(value.value_or(kUndefined));
    }
    return figures;
}

}  // namespace musicsteer::cli
