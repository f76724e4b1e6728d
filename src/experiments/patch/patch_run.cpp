#include "experiments/patch/patch_run.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "base/numbers.hpp"
#include "generation/clip_runner.hpp"
#include "model/memory.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

std::optional<PositionRange> positions_of(const PatchRequest& request, const Manifest& manifest) {
    if (!request.window) return std::nullopt;
    return parse_positions("window:" + *request.window, manifest.frames_of(request.duration_s),
                           manifest.codec.frame_rate_hz);
}

ClipRunOptions playing_options(const PatchRequest& request, const Manifest& manifest) {
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(request.duration_s);
    run.sampling = request.sampling;
    run.melody = request.melody;
    run.batch_size = request.batch_size;
    run.with_audio = false;
    return run;
}

/// Generates the clips' codes. @return their settings
ExecutionShape play(const Model& model, PatchRequest& request, const PatchRunOptions& options) {
    std::vector<SessionRequest> requests;
    for (const PatchClip& clip : request.clips) {
        SessionRequest& session = requests.emplace_back();
        session.prompt = clip.source;
        session.seed = clip.seed;
    }
    ClipRunOptions run = playing_options(request, model.manifest());
    run.on_progress = [&](double clips) {
        if (options.on_progress) options.on_progress("playing", clips, requests.size());
    };
    run.on_warning = options.on_warning;
    run.stop = options.stop;
    // Clips and variants share a batch size, whichever there are more of.
    const ClipRunner runner(model, std::move(run), kMaxDefaultBatch,
                            text_length_for(model.tokenizer, requests));
    runner.run(requests, [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i)
            request.clips[batch.first + i].codes = batch.clips[i].codes;
    });
    return runner.shape();
}

void warn_of_nothing_to_recover(const PatchReport& report,
                                const std::function<void(const std::string&)>& warn) {
    double source = 0.0, target = 0.0;
    for (const PatchScores& of_clip : report.scores) {
        source += of_clip.source;
        target += of_clip.target;
    }
    if (!(source > target)) {
        warn(
            "the source prompts make their own codes no likelier than the target prompts do: there is "
            "nothing to recover; use more pairs or longer clips");
    }
    const Estimate& any = report.results.front().estimate;  // all have the same denominator
    if (std::isfinite(any.value) && any.units > 1 && !any.has_interval()) {
        warn(
            "no intervals: the difference cannot be distinguished from chance; use more pairs or longer "
            "clips");
    }
}

}  // namespace

void PatchRequest::validate(const Manifest& manifest) const {
    const ClipRunOptions playing = playing_options(*this, manifest);
    playing.validate(manifest);
    if (const std::int64_t longest = WindowShape::of(manifest).length; playing.num_frames > longest) {
        throw UsageError("patch takes clips that the model hears at once, of at most " +
                         to_text(static_cast<double>(longest) / manifest.codec.frame_rate_hz) +
                         " s: choose a shorter --duration");
    }
    (void)parse_layers(layers, manifest.decoder.num_layers);
    (void)positions_of(*this, manifest);
}

PatchReport run_patch(const Model& model, PatchRequest request, const PatchRunOptions& options) {
    const Manifest& manifest = model.manifest();
    const ExecutionShape shape = play(model, request, options);
    PatchReport report;
    report.method = request.method;
    report.window = request.window;
    report.settings = ClipSettings::of(manifest, request.duration_s, request.sampling);
    report.settings.batch_size = shape.batch_size;
    report.settings.threads = shape.threads;
    report.settings.device = request.device;
    report.settings.melody_sha256 = request.melody.sha256;

    const bool is_patching = request.method == PatchMethod::kReplace;
    PatchOptions patching;
    patching.method = request.method;
    patching.melody = request.melody;
    patching.variants =
        patch_variants(parse_layers(request.layers, manifest.decoder.num_layers), request.sites);
    patching.positions = positions_of(request, manifest);
    patching.batch_size = shape.batch_size;
    patching.on_progress = [&](double clips, std::size_t total) {
        if (options.on_progress) options.on_progress(is_patching ? "patching" : "ablating", clips, total);
    };
    patching.stop = options.stop;
    report.scores = score_patches(model, request.clips, patching);
    report.clips = std::move(request.clips);
    for (std::size_t v = 0; v < patching.variants.size(); ++v) {
        report.results.push_back({patching.variants[v],
                                  is_patching
                                      ? recovered_share(report.scores, v)
                                      : ablation_cost(report.scores, v, report.clips.front().codes.numel())});
    }
    if (is_patching && options.on_warning) warn_of_nothing_to_recover(report, options.on_warning);
    return report;
}

}  // namespace musicsteer
