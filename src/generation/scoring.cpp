#include "generation/scoring.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "generation/teacher_forcing.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// Sums over the frames and codebooks seen so far, float64 for each clip.
struct Sums {
    at::Tensor kl;   // [R]
    at::Tensor nll;  // [R]
};

/// The requests with steering, followed by the same requests without.
std::vector<SessionRequest> both_ways(const std::vector<SessionRequest>& requests) {
    std::vector<SessionRequest> twice = requests;
    for (SessionRequest plain : requests) {
        plain.steering.clear();
        for (RequestSection& section : plain.sections) section.steering.reset();
        twice.push_back(std::move(plain));
    }
    return twice;
}

/// @param guided  [2R, K, T, V], steered rows first
void add_columns(Sums& sums, const at::Tensor& guided, const CodeTargets& targets) {
    const at::Tensor log_p = guided.log_softmax(-1);
    const std::int64_t clips = guided.size(0) / 2;
    const at::Tensor steered = log_p.narrow(0, 0, clips), plain = log_p.narrow(0, clips, clips);
    const at::Tensor kl = (steered.exp() * (steered - plain)).sum(-1);  // [R, K, T]
    sums.kl += (kl.to(at::kCPU, at::kDouble) * targets.valid).sum({1, 2});
    sums.nll -= log_likelihood(plain, targets);
}

Sums score_batch(const Model& model, const std::vector<SessionRequest>& requests,
                 const SessionOptions& session_options, std::int64_t first_frame) {
    const auto clips = static_cast<std::int64_t>(requests.size());
    GenerationSession session(model, both_ways(requests), session_options);
    const at::Tensor codes = session.codes().narrow(0, 0, clips);
    Sums sums{at::zeros({clips}, at::kDouble), at::zeros({clips}, at::kDouble)};
    while (!session.done()) {
        const StepResult step = session.step();
        const at::Tensor guided = session.guided(step.logits) / session_options.sampling.temperature;
        const Window& window = step.window;
        const DelayPattern pattern(model.manifest().decoder.delays, model.manifest().decoder.start_token,
                                   window.frames);
        add_columns(sums, guided,
                    code_targets(pattern, codes.narrow(2, window.first, window.frames), step.position,
                                 step.columns, std::max(window.repeated, first_frame - window.first)));
    }
    return sums;
}

}  // namespace

std::vector<ClipScore> score_clips(const Model& model, std::span<const SessionRequest> requests,
                                   const ScoringOptions& options) {
    const c10::InferenceMode guard;
    if (requests.empty()) return {};
    if (options.batch_size < std::ssize(requests)) throw UsageError("more clips than a batch to score");
    for (const SessionRequest& request : requests) {
        if (!request.forced_codes.defined() || request.forced_codes.dim() != 2)
            throw UsageError("a clip to score has no codes [K, N]");
    }
    SessionOptions session_options;
    session_options.num_frames = requests.front().forced_codes.size(1);
    session_options.windows = options.windows;
    session_options.sampling = options.sampling;
    session_options.prefill_chunk = kScoringColumns;
    session_options.text_length = options.text_length;
    session_options.stop = options.stop;
    std::vector<ClipScore> scores(requests.size());
    const at::Tensor& given = requests.front().forced_codes;
    const double codes = static_cast<double>(given.size(0) * (given.size(1) - options.first_frame));
    // Plans that need single steps get batches of their own: steps of one column give other last bits than
    // chunks, and a score must not depend on the other clips.
    for (const bool single_steps : {false, true}) {
        std::vector<std::size_t> places;
        std::vector<SessionRequest> batch;
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const auto plans = plans_of(requests[i]);
            if (std::any_of(plans.begin(), plans.end(), needs_single_steps) != single_steps) continue;
            places.push_back(i);
            batch.push_back(requests[i]);
        }
        if (batch.empty()) continue;
        batch.resize(static_cast<std::size_t>(options.batch_size), batch.back());
        const Sums sums = score_batch(model, batch, session_options, options.first_frame);
        for (std::size_t i = 0; i < places.size(); ++i) {
            const auto row = static_cast<std::int64_t>(i);
            scores[places[i]] = {sums.kl[row].item<double>() / codes, sums.nll[row].item<double>() / codes};
        }
    }
    return scores;
}

std::vector<ScoreOrFailure> score_each_clip(const Model& model, std::span<const SessionRequest> requests,
                                            const ScoringOptions& options) {
    std::vector<ScoreOrFailure> results;
    try {
        for (const ClipScore& score : score_clips(model, requests, options)) results.push_back({score, ""});
        return results;
    } catch (const ModelError& error) {
        if (requests.size() == 1) return {{std::nullopt, error.what()}};
    }
    // One by one, so that one failure does not affect the others
    for (std::size_t i = 0; i < requests.size(); ++i) {
        results.push_back(score_each_clip(model, requests.subspan(i, 1), options).front());
    }
    return results;
}

}  // namespace musicsteer
