#include <ATen/Parallel.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "base/logging.hpp"
#include "cli.hpp"
#include "experiments/clip_record.hpp"
#include "experiments/patch/patch_report.hpp"
#include "io/safetensors.hpp"
#include "patch_options.hpp"
#include "progress.hpp"

namespace musicsteer::cli {
namespace {

using nlohmann::json;

constexpr std::int64_t kDefaultBatchSize = 16;
constexpr const char* kPatchExample = R"(
Examples:
  musicsteer patch --model bundle --pairs prompts/tempo.json --limit 16 --out tempo.json
  musicsteer patch --model bundle --source "fast piano" --target "slow piano" --sites resid_post --window 0-2 \
      --out patch.json
  musicsteer patch --model bundle --ablate mean --prompts-file prompts/neutral.json --out cost.json --csv cost.csv)";

/// What a run consists of, besides the flags.
struct Job {
    const PatchFlags& flags;
    const Model& model;
    SessionOptions session;  ///< of playing the codes
    PatchOptions options;

    std::int64_t codes_in_clip() const { return session.num_frames * model.manifest().decoder.num_codebooks; }
};

template <typename Clip>
void play(const Job& job, std::vector<Clip>& clips, std::string Clip::*prompt) {
    std::vector<SessionRequest> requests;
    for (const Clip& clip : clips) {
        SessionRequest request;
        request.prompt = clip.*prompt;
        request.seed = clip.seed;
        requests.push_back(std::move(request));
    }
    Progress progress("playing");
    PatchOptions options = job.options;
    options.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    const at::Tensor codes = play_codes(job.model, requests, job.session, job.options.batch_size, options);
    for (std::size_t i = 0; i < clips.size(); ++i) clips[i].codes = codes[static_cast<std::int64_t>(i)];
    if (job.flags.save_codes.empty()) return;
    TensorFile file;
    file.tensors["codes"] = codes;
    file.metadata[kFormatKey] = format_stamp("musicsteer-codes");
    save_tensors(job.flags.save_codes, file, job.flags.overwrite());
}

/// What is written, whatever was done.
struct Outcome {
    PatchReport report;
    json clips;  ///< `pairs` or `clips` of the file
};

Outcome run_patching(const Job& job, std::vector<PatchPair> pairs) {
    play(job, pairs, &PatchPair::source);
    Progress progress("patching");
    PatchOptions options = job.options;
    options.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    const std::vector<PatchScores> scores = score_patches(job.model, pairs, options);
    Outcome outcome;
    outcome.report.quantity = "recovered";
    double source = 0.0, target = 0.0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        outcome.clips.push_back({{"source", pairs[i].source},
                                 {"target", pairs[i].target},
                                 {"seed", pairs[i].seed},
                                 {"log_p_source", scores[i].source},
                                 {"log_p_target", scores[i].target}});
        source += scores[i].source;
        target += scores[i].target;
    }
    if (!(source > target)) {
        log_warn(
            "the source prompts make their own codes no likelier than the target prompts do: there is "
            "nothing to recover; use more pairs or longer clips");
    }
    for (std::size_t v = 0; v < options.variants.size(); ++v) {
        PatchResult result{options.variants[v], recovered_share(scores, v), {}};
        for (const PatchScores& of_pair : scores) result.log_p.push_back(of_pair.patched[v]);
        outcome.report.results.push_back(std::move(result));
    }
    // What is divided by is the same for all variants.
    const Estimate& any = outcome.report.results.front().estimate;
    if (std::isfinite(any.value) && any.units > 1 && !any.has_interval()) {
        log_warn(
            "no intervals: that there is anything to recover can't be told from chance; use more pairs or "
            "longer clips");
    }
    return outcome;
}

Outcome run_ablation(const Job& job, std::vector<AblationClip> clips) {
    play(job, clips, &AblationClip::prompt);
    Progress progress("ablating");
    PatchOptions options = job.options;
    options.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    const std::vector<AblationScores> scores =
        score_ablations(job.model, clips, *job.flags.ablation(), options);
    Outcome outcome;
    outcome.report.quantity = "cost_nats";
    for (std::size_t i = 0; i < clips.size(); ++i) {
        outcome.clips.push_back(
            {{"prompt", clips[i].prompt}, {"seed", clips[i].seed}, {"log_p", scores[i].plain}});
    }
    for (std::size_t v = 0; v < options.variants.size(); ++v) {
        PatchResult result{options.variants[v], ablation_cost(scores, v, job.codes_in_clip()), {}};
        for (const AblationScores& of_clip : scores) result.log_p.push_back(of_clip.ablated[v]);
        outcome.report.results.push_back(std::move(result));
    }
    return outcome;
}

json file_json(const Job& job, const Outcome& outcome) {
    const Manifest& manifest = job.model.manifest();
    const PatchFlags& flags = job.flags;
    const SamplingOptions& sampling = job.session.sampling;
    json file = json::parse(format_stamp("musicsteer-patch"));
    file.update({{"musicsteer", program_version()},
                 {"model", {{"name", manifest.model_name}, {"weights_sha256", manifest.weights_sha256}}},
                 {"method", flags.is_patching() ? "replace" : "ablate-" + flags.ablate},
                 {"window", flags.window.empty() ? json() : json(flags.window)},
                 {"duration_s", flags.sampling.duration_s},
                 {"num_frames", job.session.num_frames},
                 {"guidance_scale", sampling.guidance_scale},
                 {"top_k", sampling.top_k},
                 {"top_p", sampling.top_p},
                 {"temperature", sampling.temperature},
                 {"execution",
                  {{"batch_size", job.options.batch_size},
                   {"threads", at::get_num_threads()},
                   {"device", flags.model.device},
                   {"precision", manifest.precision}}}});
    file[flags.is_patching() ? "pairs" : "clips"] = outcome.clips;
    file["results"] = patch_results_json(outcome.report);
    return file;
}

void print_table(const PatchTable& table) {
    std::printf("%-18s", "layer");
    for (const std::string& layer : table.layers) std::printf("%8s", layer.c_str());
    std::printf("\n");
    for (std::size_t row = 0; row < table.sites.size(); ++row) {
        std::printf("%-18s", table.sites[row].c_str());
        for (const double value : table.values[row]) {
            if (std::isfinite(value)) {
                std::printf("%8.3f", value);
            } else {
                std::printf("%8s", "-");
            }
        }
        std::printf("\n");
    }
    std::fflush(stdout);
}

void write(const Job& job, const Outcome& outcome) {
    const PatchFlags& flags = job.flags;
    const std::string text = file_json(job, outcome).dump(2) + "\n";
    write_file_atomically(flags.out, text, flags.overwrite());
    if (!flags.csv.empty())
        write_file_atomically(flags.csv, patch_results_csv(outcome.report), flags.overwrite());
    if (flags.json) {
        std::cout << text;
        return;
    }
    print_table(patch_table(outcome.report));
    std::cout << "wrote " << flags.out << '\n';
}

void run(const PatchFlags& flags, const Context& context) {
    apply_log_level(flags.model.log_level);
    flags.check();
    flags.sampling.validate();
    const std::vector<Site> sites = flags.parse_sites();
    std::vector<PatchPair> pairs = flags.load_pairs();
    std::vector<AblationClip> clips = flags.load_clips();
    flags.check_outputs();
    Bundle bundle = open_bundle(flags.model);
    const Manifest& manifest = bundle.manifest();
    SessionOptions session;
    session.num_frames = manifest.frames_of(flags.sampling.duration_s);
    session.sampling = flags.sampling.resolve(manifest);
    session.validate(manifest);
    PatchOptions options;
    options.variants = patch_variants(parse_layers(flags.layers, manifest.decoder.num_layers), sites);
    options.batch_size = flags.sampling.batch_size > 0 ? flags.sampling.batch_size : kDefaultBatchSize;
    options.stop = context.stop;
    if (!flags.window.empty()) {
        options.positions =
            parse_positions("window:" + flags.window, session.num_frames, manifest.codec.frame_rate_hz);
    }
    const Model model = load_model(flags.model, std::move(bundle));
    const Job job{flags, model, session, std::move(options)};
    write(job,
          flags.is_patching() ? run_patching(job, std::move(pairs)) : run_ablation(job, std::move(clips)));
}

}  // namespace

void add_patch(CLI::App& app, Context& context) {
    const auto flags = std::make_shared<PatchFlags>();
    CLI::App* command = app.add_subcommand(
        "patch", "Say which layers and sites carry a difference between prompts (activation patching)");
    command->footer(kPatchExample);
    add_patch_flags(*command, *flags);
    command->callback([flags, &context] { context.action = [flags, &context] { run(*flags, context); }; });
}

}  // namespace musicsteer::cli
