#include "experiments/patch/patching.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <map>

#include "base/errors.hpp"
#include "generation/generator.hpp"
#include "generation/replacement.hpp"
#include "generation/scoring.hpp"
#include "generation/teacher_forcing.hpp"
#include "model/memory.hpp"

namespace musicsteer {
namespace {

constexpr PositionRange kEverywhere{0, std::numeric_limits<std::int64_t>::max()};

/// Counts decoder columns over everything that a call will run.
class ColumnCounter {
  public:
    ColumnCounter(const PatchOptions& options, std::int64_t total) : options_(options), total_(total) {}
    void add(std::int64_t columns) {
        done_ += columns;
        if (options_.on_progress) options_.on_progress(done_, total_);
    }

  private:
    const PatchOptions& options_;
    std::int64_t total_;
    std::int64_t done_ = 0;
};

SessionRequest teacher_forced(const std::string& prompt, const at::Tensor& codes) {
    SessionRequest request;
    request.prompt = prompt;
    request.forced_codes = codes;
    return request;
}

/// Only conditional rows are run: what is scored is what the model says with the prompt, without guidance.
SessionOptions conditional_only(std::int64_t num_frames, std::int64_t text_length) {
    SessionOptions options;
    options.num_frames = num_frames;
    options.sampling.guidance_scale = 1.0;
    options.prefill_chunk = kScoringColumns;
    options.text_length = text_length;
    return options;
}

void check_patching_memory(const Model& model, const SessionOptions& options, std::int64_t rows) {
    BatchShape shape;
    shape.rows = rows;
    shape.frames = options.num_frames;
    shape.texts = 2;
    shape.text_length = options.text_length;
    shape.columns = kScoringColumns;
    require_memory(estimate_memory(model.manifest(), shape), available_memory());
}

void validate(const PatchOptions& options) {
    if (options.batch_size < 1) throw UsageError("batch size must be at least 1");
    if (options.variants.empty()) throw UsageError("nothing to patch: no layers or sites");
}

/// What takes the place of activations in a batch whose first rows are references and the rest variants.
using MakeHook = std::function<EditHook(const HookPoint& point, const std::vector<std::int64_t>& rows)>;

/// Variants first ... first + count of the list, in the rows from `first_row` on.
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

/// log p(codes) of each row, [R] float64.
at::Tensor row_scores(const Model& model, GenerationSession& session, const PatchOptions& options,
                      ColumnCounter& columns) {
    const DecoderDims& dims = model.manifest().decoder;
    const at::Tensor codes = session.codes();
    const DelayPattern pattern(dims.delays, dims.start_token, codes.size(2));
    at::Tensor sums = at::zeros({session.num_requests()}, at::kDouble);
    while (!session.done()) {
        if (options.stop.stop_requested()) throw Interrupted("interrupted");
        const StepResult step = session.step();
        const CodeTargets targets = code_targets(pattern, codes, step.position, step.columns);
        sums += log_likelihood(step.logits.log_softmax(-1), targets);
        columns.add(step.columns);
    }
    return sums;
}

struct BatchScores {
    std::vector<double> references;
    std::vector<double> variants;
};

/// One clip under its reference prompts and all variants of the last of these, batch by batch. Every batch
/// has the same rows: references, then variants.
BatchScores score_variants(const Model& model, const std::vector<SessionRequest>& references,
                           const SessionOptions& session_options, const PatchOptions& options,
                           const MakeHook& make_hook, ColumnCounter& columns) {
    BatchScores scores;
    const auto first_row = static_cast<std::int64_t>(references.size());
    const auto width = static_cast<std::size_t>(options.batch_size);
    for (std::size_t first = 0; first < options.variants.size(); first += width) {
        const std::size_t count = std::min(width, options.variants.size() - first);
        std::vector<SessionRequest> requests = references;
        requests.resize(references.size() + width, references.back());
        GenerationSession session(model, std::move(requests), session_options);
        const auto handles =
            replace_in(session, std::span(options.variants).subspan(first, count), first_row, make_hook);
        const at::Tensor sums = row_scores(model, session, options, columns);
        const auto* values = sums.const_data_ptr<double>();
        scores.references.assign(values, values + first_row);
        scores.variants.insert(scores.variants.end(), values + first_row,
                               values + first_row + static_cast<std::ptrdiff_t>(count));
    }
    return scores;
}

std::int64_t batches_of(const PatchOptions& options) {
    const auto variants = static_cast<std::int64_t>(options.variants.size());
    return (variants + options.batch_size - 1) / options.batch_size;
}

std::int64_t positions_of(const Model& model, const SessionOptions& options) {
    const DecoderDims& dims = model.manifest().decoder;
    return DelayPattern(dims.delays, dims.start_token, options.num_frames).num_positions();
}

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
                                          const SessionOptions& session_options, Ablation ablation,
                                          const PatchOptions& options, ColumnCounter& columns) {
    const std::int64_t width = model.manifest().decoder.hidden_size;
    const std::vector<HookPoint> points = points_of(options.variants);
    std::map<HookPoint, at::Tensor> sums;
    for (const HookPoint& point : points) sums[point] = at::zeros({width}, at::kDouble);
    if (ablation == Ablation::kMean) {
        for (const SessionRequest& clip : clips) {
            GenerationSession session(model, {clip}, session_options);
            const ActivationMeans means(session.hooks(), points, 1, width, {0, session_options.num_frames},
                                        RecordedRows::kConditional);
            run_session(session, options.stop, [&](std::int64_t count) { columns.add(count); });
            for (const HookPoint& point : points) sums[point] += means.mean(point)[0].to(at::kDouble);
        }
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
    const SessionOptions session =
        conditional_only(pairs.front().codes.size(1), text_length_for(model.tokenizer, requests));
    check_patching_memory(model, session, options.batch_size + 2);
    const auto count = static_cast<std::int64_t>(pairs.size());
    ColumnCounter columns(options, count * batches_of(options) * positions_of(model, session));
    const PositionRange positions = options.positions.value_or(kEverywhere);
    const MakeHook from_source = [&](const HookPoint&, const std::vector<std::int64_t>& rows) {
        return replace_by_row(rows, 0, positions, model.decoder.device());
    };
    std::vector<PatchScores> scores;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::vector<SessionRequest> both(requests.begin() + static_cast<std::ptrdiff_t>(2 * i),
                                               requests.begin() + static_cast<std::ptrdiff_t>(2 * i + 2));
        BatchScores of_pair = score_variants(model, both, session, options, from_source, columns);
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
    const SessionOptions session =
        conditional_only(clips.front().codes.size(1), text_length_for(model.tokenizer, requests));
    check_patching_memory(model, session, options.batch_size + 1);
    const std::int64_t runs = batches_of(options) + (ablation == Ablation::kMean ? 1 : 0);
    ColumnCounter columns(options,
                          static_cast<std::int64_t>(clips.size()) * runs * positions_of(model, session));
    const auto vectors = stand_ins(model, requests, session, ablation, options, columns);
    const PositionRange positions = options.positions.value_or(kEverywhere);
    const MakeHook by_vector = [&](const HookPoint& point, const std::vector<std::int64_t>& rows) {
        return replace_by_vector(rows, vectors.at(point), positions, model.decoder.device());
    };
    std::vector<AblationScores> scores;
    for (const SessionRequest& request : requests) {
        BatchScores of_clip = score_variants(model, {request}, session, options, by_vector, columns);
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

at::Tensor play_codes(const Model& model, const std::vector<SessionRequest>& requests,
                      const SessionOptions& session_options, std::int64_t batch_size,
                      const PatchOptions& options) {
    const c10::InferenceMode guard;
    SessionOptions padded = session_options;
    padded.text_length = text_length_for(model.tokenizer, requests);
    const auto width = static_cast<std::size_t>(batch_size);
    const std::size_t batches = (requests.size() + width - 1) / width;
    ColumnCounter columns(options, static_cast<std::int64_t>(batches) * positions_of(model, padded));
    std::vector<at::Tensor> codes;
    for (std::size_t first = 0; first < requests.size(); first += width) {
        const std::size_t count = std::min(width, requests.size() - first);
        const auto begin = requests.begin() + static_cast<std::ptrdiff_t>(first);
        GenerationSession session(
            model, fill_batch({begin, begin + static_cast<std::ptrdiff_t>(count)}, batch_size), padded);
        run_session(session, options.stop, [&](std::int64_t of_step) { columns.add(of_step); });
        codes.push_back(session.codes().narrow(0, 0, static_cast<std::int64_t>(count)));
    }
    return at::cat(codes);
}

}  // namespace musicsteer
