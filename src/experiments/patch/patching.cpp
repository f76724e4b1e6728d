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

/// log p(codes) of each row of a session, summed step by step.
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
    double at(std::int64_t row) const { return sums_.const_data_ptr<double>()[row]; }

  private:
    at::Tensor codes_;
    DelayPattern pattern_;
    at::Tensor sums_;  // [R]
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

class PatchScorer {
  public:
    PatchScorer(const Model& model, std::span<const PatchClip> clips, const PatchOptions& options)
        : model_(model), options_(options), positions_(options.positions.value_or(kEverywhere)) {
        std::vector<SessionRequest> all;
        for (const PatchClip& clip : clips) {
            std::vector<SessionRequest>& prompts = references_.emplace_back();
            prompts.push_back(teacher_forced(clip.source, clip.codes));
            if (is_patching()) prompts.push_back(teacher_forced(clip.target, clip.codes));
            all.insert(all.end(), prompts.begin(), prompts.end());
        }
        text_length_ = text_length_for(model.tokenizer, all);
        // Only conditional rows are run: scores are of the model's predictions with the prompt, without
        // guidance.
        run_.num_frames = clips.front().codes.size(1);
        run_.sampling.guidance_scale = 1.0;
        run_.melody = options.melody;
        run_.forced_columns = kScoringColumns;
        run_.batch_size = options.batch_size;
        run_.with_audio = false;
        run_.stop = options.stop;
    }

    std::vector<PatchScores> run() {
        if (!is_patching()) find_stand_ins();
        std::vector<PatchScores> scores;
        for (const std::vector<SessionRequest>& references : references_) {
            scores.push_back(score(references, static_cast<double>(scores.size())));
        }
        return scores;
    }

  private:
    bool is_patching() const { return options_.method == PatchMethod::kReplace; }

    /// [D] at each hook point: the mean over the frames of all clips, or zeros.
    void find_stand_ins() {
        const std::int64_t width = model_.manifest().decoder.hidden_size;
        const std::vector<HookPoint> points = points_of(options_.variants);
        for (const HookPoint& point : points) stand_ins_[point] = at::zeros({width}, at::kDouble);
        if (options_.method == PatchMethod::kAblateMean) {
            ClipRunOptions run = run_;
            run.batch_size = 1;
            std::optional<ActivationMeans> means;
            run.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
                means.emplace(session.hooks(), points, 1, width, PositionRange{0, run_.num_frames},
                              RecordedRows::kConditional);
            };
            ClipRunner(model_, std::move(run), references_.size(), text_length_)
                .run(
                    references_.size(), [&](std::size_t i) { return references_[i].front(); },
                    [&](const FinishedBatch&) {
                        for (const HookPoint& point : points)
                            stand_ins_[point] += means->mean(point)[0].to(at::kDouble);
                    });
        }
        const auto clips = static_cast<double>(references_.size());
        for (auto& [point, sum] : stand_ins_) sum = (sum / clips).to(at::kFloat);
    }

    EditHook hook_at(const HookPoint& point, const std::vector<std::int64_t>& rows) const {
        const c10::Device device = model_.decoder.device();
        return is_patching() ? replace_by_row(rows, 0, positions_, device)
                             : replace_by_vector(rows, stand_ins_.at(point), positions_, device);
    }

    /// Variants, in the rows from `first_row` on.
    std::vector<HookHandle> replace_in(GenerationSession& session, std::span<const PatchVariant> variants,
                                       std::int64_t first_row) const {
        std::map<HookPoint, std::vector<std::int64_t>> rows_at;
        for (std::size_t i = 0; i < variants.size(); ++i) {
            for (const HookPoint& point : variants[i].points())
                rows_at[point].push_back(first_row + static_cast<std::int64_t>(i));
        }
        std::vector<HookHandle> handles;
        for (const auto& [point, rows] : rows_at)
            handles.push_back(session.hooks().edit(point, hook_at(point, rows)));
        return handles;
    }

    /// One clip under its prompts and all variants of the last one. Every batch has the same rows: prompts,
    /// then variants.
    PatchScores score(const std::vector<SessionRequest>& references, double clips_before) {
        ClipRunOptions run = run_;
        run.references = references;
        const auto first_row = std::ssize(references);
        const std::size_t count = options_.variants.size();
        std::vector<HookHandle> handles;
        std::optional<RowScores> rows;
        run.on_session = [&](GenerationSession& session, std::size_t first, std::size_t variants) {
            handles = replace_in(session, std::span(options_.variants).subspan(first, variants), first_row);
            rows.emplace(session, model_.manifest().decoder);
        };
        run.on_step = [&](const GenerationSession&, const StepResult& step) { rows->add(step); };
        run.on_progress = [&](double variants) {
            if (!options_.on_progress) return;
            options_.on_progress(clips_before + variants / static_cast<double>(count), references_.size());
        };
        const ClipRunner runner(model_, std::move(run), count, text_length_);
        run_.batch_size = runner.shape().batch_size;  // of all clips
        PatchScores scores;
        runner.run(
            count, [&](std::size_t) { return references.back(); },
            [&](const FinishedBatch& batch) {
                scores.source = rows->at(0);
                scores.target = rows->at(first_row - 1);
                for (std::int64_t i = 0; i < std::ssize(batch.clips); ++i)
                    scores.patched.push_back(rows->at(first_row + i));
            });
        return scores;
    }

    const Model& model_;
    const PatchOptions& options_;
    PositionRange positions_;
    std::vector<std::vector<SessionRequest>> references_;  ///< of each clip: its prompts
    std::int64_t text_length_ = 0;
    ClipRunOptions run_;
    std::map<HookPoint, at::Tensor> stand_ins_;
};

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

std::vector<PatchScores> score_patches(const Model& model, std::span<const PatchClip> clips,
                                       const PatchOptions& options) {
    const c10::InferenceMode guard;
    if (options.variants.empty()) throw UsageError("nothing to patch: no layers or sites");
    if (clips.empty()) return {};
    return PatchScorer(model, clips, options).run();
}

Estimate recovered_share(std::span<const PatchScores> scores, std::size_t variant) {
    std::vector<double> gained, whole;
    for (const PatchScores& of_pair : scores) {
        gained.push_back(of_pair.patched.at(variant) - of_pair.target);
        whole.push_back(of_pair.source - of_pair.target);
    }
    return ratio_interval_t(gained, whole);
}

Estimate ablation_cost(std::span<const PatchScores> scores, std::size_t variant, std::int64_t codes) {
    std::vector<double> costs;
    for (const PatchScores& of_clip : scores)
        costs.push_back((of_clip.source - of_clip.patched.at(variant)) / static_cast<double>(codes));
    return mean_interval_t(costs);
}

}  // namespace musicsteer
