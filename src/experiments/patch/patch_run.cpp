#include "experiments/patch/patch_run.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "generation/clip_runner.hpp"
#include "model/memory.hpp"

namespace musicsteer {
namespace {

PatchMethod method_of(const std::optional<Ablation>& ablation) {
    if (!ablation) return PatchMethod::kReplace;
    return *ablation == Ablation::kZero ? PatchMethod::kAblateZero : PatchMethod::kAblateMean;
}

std::optional<PositionRange> positions_of(const PatchRequest& request, const Manifest& manifest) {
    if (!request.window) return std::nullopt;
    return parse_positions("window:" + *request.window, manifest.frames_of(request.duration_s),
                           manifest.codec.frame_rate_hz);
}

ClipRunOptions playing_options(const PatchRequest& request, const Manifest& manifest) {
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(request.duration_s);
    run.sampling = request.sampling;
    run.batch_size = request.batch_size;
    run.with_audio = false;
    return run;
}

class PatchRun {
  public:
    PatchRun(const Model& model, PatchRequest request, const PatchRunOptions& options)
        : model_(model), request_(std::move(request)), options_(options) {
        const Manifest& manifest = model.manifest();
        patching_.variants =
            patch_variants(parse_layers(request_.layers, manifest.decoder.num_layers), request_.sites);
        patching_.positions = positions_of(request_, manifest);
        patching_.on_warning = options.on_warning;
        patching_.stop = options.stop;
        report_.method = method_of(request_.ablation);
        report_.window = request_.window;
        report_.settings = ClipSettings::of(manifest, request_.duration_s, request_.sampling);
        report_.settings.device = request_.device;
    }

    PatchReport run() {
        request_.ablation ? ablate() : patch();
        return std::move(report_);
    }

  private:
    std::function<void(double, std::size_t)> progress_of(const std::string& stage) const {
        return [this, stage](double clips, std::size_t total) {
            if (options_.on_progress) options_.on_progress(stage, clips, total);
        };
    }

    void warn(const std::string& message) const {
        if (options_.on_warning) options_.on_warning(message);
    }

    template <typename Clip>
    void play(std::vector<Clip>& clips, std::string Clip::*prompt) {
        std::vector<SessionRequest> requests;
        for (const Clip& clip : clips) {
            SessionRequest& request = requests.emplace_back();
            request.prompt = clip.*prompt;
            request.seed = clip.seed;
        }
        ClipRunOptions run = playing_options(request_, model_.manifest());
        run.on_progress = [&](double done) { progress_of("playing")(done, clips.size()); };
        run.on_warning = options_.on_warning;
        run.stop = options_.stop;
        // Pairs and variants share a batch size, whichever there are more of.
        const ClipRunner runner(model_, std::move(run), kMaxDefaultBatch,
                                text_length_for(model_.tokenizer, requests));
        std::vector<at::Tensor> codes;
        runner.run(requests, [&](const FinishedBatch& batch) {
            for (const FinishedClip& clip : batch.clips) codes.push_back(clip.codes);
        });
        for (std::size_t i = 0; i < clips.size(); ++i) clips[i].codes = codes[i];
        report_.codes = at::stack(codes);
        report_.settings.batch_size = patching_.batch_size = runner.shape().batch_size;
        report_.settings.threads = runner.shape().threads;
    }

    void patch() {
        std::vector<PatchPair>& pairs = request_.pairs;
        play(pairs, &PatchPair::source);
        patching_.on_progress = progress_of("patching");
        const std::vector<PatchScores> scores = score_patches(model_, pairs, patching_);
        double source = 0.0, target = 0.0;
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            report_.clips.push_back(
                {pairs[i].source, pairs[i].target, pairs[i].seed, scores[i].source, scores[i].target});
            source += scores[i].source;
            target += scores[i].target;
        }
        for (std::size_t v = 0; v < patching_.variants.size(); ++v) {
            PatchResult result{patching_.variants[v], recovered_share(scores, v), {}};
            for (const PatchScores& of_pair : scores) result.log_p.push_back(of_pair.patched[v]);
            report_.results.push_back(std::move(result));
        }
        if (!(source > target)) {
            warn(
                "the source prompts make their own codes no likelier than the target prompts do: there is "
                "nothing to recover; use more pairs or longer clips");
        }
        // What is divided by is the same for all variants.
        const Estimate& any = report_.results.front().estimate;
        if (std::isfinite(any.value) && any.units > 1 && !any.has_interval()) {
            warn(
                "no intervals: that there is anything to recover can't be told from chance; use more pairs or "
                "longer clips");
        }
    }

    void ablate() {
        std::vector<AblationClip>& clips = request_.clips;
        play(clips, &AblationClip::prompt);
        patching_.on_progress = progress_of("ablating");
        const std::vector<AblationScores> scores =
            score_ablations(model_, clips, *request_.ablation, patching_);
        for (std::size_t i = 0; i < clips.size(); ++i)
            report_.clips.push_back({clips[i].prompt, std::nullopt, clips[i].seed, scores[i].plain, 0.0});
        for (std::size_t v = 0; v < patching_.variants.size(); ++v) {
            PatchResult result{
                patching_.variants[v], ablation_cost(scores, v, clips.front().codes.numel()), {}};
            for (const AblationScores& of_clip : scores) result.log_p.push_back(of_clip.ablated[v]);
            report_.results.push_back(std::move(result));
        }
    }

    const Model& model_;
    PatchRequest request_;
    const PatchRunOptions& options_;
    PatchOptions patching_;
    PatchReport report_;
};

}  // namespace

void PatchRequest::validate(const Manifest& manifest) const {
    playing_options(*this, manifest).validate(manifest);
    (void)parse_layers(layers, manifest.decoder.num_layers);
    (void)positions_of(*this, manifest);
}

PatchReport run_patch(const Model& model, PatchRequest request, const PatchRunOptions& options) {
    return PatchRun(model, std::move(request), options).run();
}

}  // namespace musicsteer
