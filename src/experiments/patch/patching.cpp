#include "experiments/patch/patching.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <map>

#include "generation/clip_runner.hpp"
#include "generation/replacement.hpp"
#include "generation/teacher_forcing.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr PositionRange kEverywhere{0, std::numeric_limits<std::int64_t>::max()};

SessionRequest teacher_forced(const std::string& prompt, const at::Tensor& codes) {
    SessionRequest request;
    request.prompt = prompt;
    request.forced_codes = codes;
    return request;
}

/// Only conditional rows are run: what is scored is what the model says with the prompt, without guidance.
ClipRunOptions conditional_only(std::int64_t num_frames, const PatchOptions& options) {
    ClipRunOptions run;
    run.num_frames = num_frames;
    run.sampling.guidance_scale = 1.0;
    run.given_columns = kScoringColumns;
    run.batch_size = options.batch_size;
    run.with_audio = false;
    run.on_warning = options.on_warning;
    run.stop = options.stop;
    return run;
}

void validate(const PatchOptions& options) {
    if (options.variants.empty()) throw UsageError("nothing to patch: no layers or sites");
}

/// What takes the place of activations of these rows.
using MakeHook = std::function<EditHook(const HookPoint& point, const std::vector<std::int64_t>& rows)>;

/// Variants, in the rows from `first_row` on.
std::vector<HookHandle> replace_in(GenerationSession& session, std::span<const PatchVariant> variants,
                                   std::int64_t first_row, const MakeHook& make_hook) {
    std::map<HookPoint, std::vector<std::int64_t>> rows_at;
    for (std::size_t i = 0; i < variants.size(); ++i) {
        for (const HookPoint& point : variants[i].points())
            rows_at[point].push_back(first_row + static_cast<std::int64_t>(i));
    }
    std::vector<HookHandle> handles;
    for (const auto& [point, rows] : rows_at)
        handles.push_back(session.hooks().edit(point, make_hook(point, rows)));
    return handles;
}

/// log p(codes) of each row of a session, added up step by step.
class RowScores {
  public:
    RowScores(const GenerationSession& session, const DecoderDims& dims)
        : codes_(session.codes()),
          pattern_(dims.delays, dims.start_token, codes_.size(2)),
          sums_(at::zeros({session.num_requests()}, at::kDouble)) {}

    void add(const StepResult& step) {
        const CodeTargets targets = code_targets(pattern_, codes_, step.position, step.columns);
        sums_ += log_likelihood(step.logits.log_softmax(-1), targets);
    }
    std::vector<double> rows(std::int64_t first, std::int64_t count) const {
        const double* const values = sums_.const_data_ptr<double>() + first;
        return {values, values + count};
    }

  private:
    at::Tensor codes_;
    DelayPattern pattern_;
    at::Tensor sums_;  // [R]
};

struct VariantScores {
    std::vector<double> references;
    std::vector<double> variants;
};

/// One clip under its reference prompts and all variants of the last of these. Every batch has the same rows:
/// references, then variants.
class VariantScorer {
  public:
    VariantScorer(const Model& model, const PatchOptions& options, std::int64_t num_frames,
                  std::int64_t text_length, std::size_t clips)
        : model_(model),
          options_(options),
          run_(conditional_only(num_frames, options)),
          text_length_(text_length),
          clips_(clips) {}

    VariantScores score(const std::vector<SessionRequest>& references, const MakeHook& make_hook) {
        ClipRunOptions run = run_;
        run.references = references;
        const auto first_row = std::ssize(references);
        std::vector<HookHandle> handles;
        std::optional<RowScores> rows;
        run.on_session = [&](GenerationSession& session, std::size_t first, std::size_t count) {
            handles =
                replace_in(session, std::span(options_.variants).subspan(first, count), first_row, make_hook);
            rows.emplace(session, model_.manifest().decoder);
        };
        run.on_step = [&](const GenerationSession&, const StepResult& step) { rows->add(step); };
        run.on_progress = [&](double variants) {
            const double of_clip = variants / static_cast<double>(options_.variants.size());
            if (options_.on_progress) options_.on_progress(static_cast<double>(done_) + of_clip, clips_);
        };
        const std::size_t count = options_.variants.size();
        const ClipRunner runner(model_, std::move(run), count, text_length_);
        run_.batch_size = runner.shape().batch_size;  // of all clips
        VariantScores scores;
        runner.run(
            count, [&](std::size_t) { return references.back(); },
            [&](const FinishedBatch& batch) {
                scores.references = rows->rows(0, first_row);
                const auto more = rows->rows(first_row, std::ssize(batch.clips));
                scores.variants.insert(scores.variants.end(), more.begin(), more.end());
            });
        ++done_;
        return scores;
    }

  private:
    const Model& model_;
    const PatchOptions& options_;
    ClipRunOptions run_;
    std::int64_t text_length_;
    std::size_t clips_;
    std::size_t done_ = 0;
};

/// All variants' hook points, each once.
std::vector<HookPoint> points_of(std::span<const PatchVariant> variants) {
    std::vector<HookPoint> points;
    for (const PatchVariant& variant : variants) {
        const std::vector<HookPoint> more = variant.points();
        points.insert(points.end(), more.begin(), more.end());
    }
    std::sort(points.begin(), points.end());
    points.erase(std::unique(points.begin(), points.end()), points.end());
    return points;
}

/// [D] at each hook point: the mean over the frames of all clips, or zeros.
std::map<HookPoint, at::Tensor> stand_ins(const Model& model, std::span<const SessionRequest> clips,
                                          std::int64_t num_frames, std::int64_t text_length,
                                          Ablation ablation, const PatchOptions& options) {
    const std::int64_t width = model.manifest().decoder.hidden_size;
    const std::vector<HookPoint> points = points_of(options.variants);
    std::map<HookPoint, at::Tensor> sums;
    for (const HookPoint& point : points) sums[point] = at::zeros({width}, at::kDouble);
    if (ablation == Ablation::kMean) {
        ClipRunOptions run = conditional_only(num_frames, options);
        run.batch_size = 1;
        std::optional<ActivationMeans> means;
        run.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
            means.emplace(session.hooks(), points, 1, width, PositionRange{0, num_frames},
                          RecordedRows::kConditional);
        };
        ClipRunner(model, std::move(run), clips.size(), text_length).run(clips, [&](const FinishedBatch&) {
            for (const HookPoint& point : points) sums[point] += means->mean(point)[0].to(at::kDouble);
        });
    }
    for (auto& [point, sum] : sums) sum = (sum / static_cast<double>(clips.size())).to(at::kFloat);
    return sums;
}

}  // namespace

std::vector<HookPoint> PatchVariant::points() const {
    std::vector<HookPoint> points;
    for (const std::int64_t layer : layers) points.push_back(HookPoint::at(layer, site));
    return points;
}

std::vector<PatchVariant> patch_variants(const std::vector<std::int64_t>& layers,
                                         const std::vector<Site>& sites) {
    std::vector<PatchVariant> variants;
    for (const Site site : sites) {
        for (const std::int64_t layer : layers) variants.push_back({site, {layer}});
    }
    if (layers.size() > 1) {
        for (const Site site : sites) variants.push_back({site, layers});
    }
    return variants;
}

std::vector<PatchScores> score_patches(const Model& model, std::span<const PatchPair> pairs,
                                       const PatchOptions& options) {
    const c10::InferenceMode guard;
    validate(options);
    if (pairs.empty()) return {};
    std::vector<SessionRequest> requests;
    for (const PatchPair& pair : pairs) {
        requests.push_back(teacher_forced(pair.source, pair.codes));
        requests.push_back(teacher_forced(pair.target, pair.codes));
    }
    VariantScorer scorer(model, options, pairs.front().codes.size(1),
                         text_length_for(model.tokenizer, requests), pairs.size());
    const PositionRange positions = options.positions.value_or(kEverywhere);
    const MakeHook from_source = [&](const HookPoint&, const std::vector<std::int64_t>& rows) {
        return replace_by_row(rows, 0, positions, model.decoder.device());
    };
    std::vector<PatchScores> scores;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        VariantScores of_pair = scorer.score({requests[2 * i], requests[2 * i + 1]}, from_source);
        scores.push_back({of_pair.references[0], of_pair.references[1], std::move(of_pair.variants)});
    }
    return scores;
}

std::vector<AblationScores> score_ablations(const Model& model, std::span<const AblationClip> clips,
                                            Ablation ablation, const PatchOptions& options) {
    const c10::InferenceMode guard;
    validate(options);
    if (clips.empty()) return {};
    std::vector<SessionRequest> requests;
    for (const AblationClip& clip : clips) requests.push_back(teacher_forced(clip.prompt, clip.codes));
    const std::int64_t num_frames = clips.front().codes.size(1);
    const std::int64_t text_length = text_length_for(model.tokenizer, requests);
    VariantScorer scorer(model, options, num_frames, text_length, clips.size());
    const auto vectors = stand_ins(model, requests, num_frames, text_length, ablation, options);
    const PositionRange positions = options.positions.value_or(kEverywhere);
    const MakeHook by_vector = [&](const HookPoint& point, const std::vector<std::int64_t>& rows) {
        return replace_by_vector(rows, vectors.at(point), positions, model.decoder.device());
    };
    std::vector<AblationScores> scores;
    for (const SessionRequest& request : requests) {
        VariantScores of_clip = scorer.score({request}, by_vector);
        scores.push_back({of_clip.references[0], std::move(of_clip.variants)});
    }
    return scores;
}

Estimate recovered_share(std::span<const PatchScores> scores, std::size_t variant) {
    std::vector<double> gained, whole;
    for (const PatchScores& of_pair : scores) {
        gained.push_back(of_pair.patched.at(variant) - of_pair.target);
        whole.push_back(of_pair.source - of_pair.target);
    }
    return ratio_interval_t(gained, whole);
}

Estimate ablation_cost(std::span<const AblationScores> scores, std::size_t variant, std::int64_t codes) {
    std::vector<double> costs;
    for (const AblationScores& of_clip : scores)
        costs.push_back((of_clip.plain - of_clip.ablated.at(variant)) / static_cast<double>(codes));
    return mean_interval_t(costs);
}

}  // namespace musicsteer
