#include <ATen/ATen.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "audio/levels.hpp"
#include "base/logging.hpp"
#include "cli.hpp"
#include "clip_outputs.hpp"
#include "directions/provenance.hpp"
#include "experiments/clip_record.hpp"
#include "generation/clip_runner.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"
#include "model/melody.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "steer_options.hpp"
#include "steering/applied_vector.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kGenerateExample = R"(
Examples:
  musicsteer generate --model bundle --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer generate --model bundle --prompts-file prompts/neutral.json --seed 0:4 \
      --steer tempo.safetensors:alpha=1:layers=2-5 --steer brightness.safetensors:alpha=-0.5 --out clips
  musicsteer generate --model melody-bundle --prompt "piano music" --melody tune.flac --out piano.wav
  musicsteer generate --model bundle --prompt "piano music" --steer faster.json --out fast.wav
  musicsteer generate --model bundle --prompt "organ music" --steer fast.steering.json --out fast-organ.wav)";

struct GenerateFlags {
    ModelOptions model;
    ClipFlags clips;
    SamplingFlags sampling;
    SteerFlags steering;
    std::string melody;
    std::string out;
    std::string format = "pcm16";
    std::string save_codes;
    bool score = false;
    bool force = false;
    bool json = false;
};

ClipSettings clip_settings(const GenerateFlags& options, const Manifest& manifest,
                           const SamplingOptions& sampling, const ExecutionShape& shape) {
    ClipSettings settings = ClipSettings::of(manifest, options.sampling.duration_s, sampling);
    settings.sample_format = options.format;
    settings.batch_size = shape.batch_size;
    settings.threads = shape.threads;
    settings.device = options.model.device;
    return settings;
}

ClipSpec clip_spec(const SessionRequest& request, std::int64_t text_length,
                   const std::vector<SteeringSetting>& steering, const std::optional<Melody>& melody) {
    ClipSpec clip;
    if (!request.unconditional) clip.prompt = request.prompt;
    clip.negative_prompt = request.negative_prompt;
    clip.seed = request.seed;
    clip.text_length = text_length;
    if (melody) clip.melody_sha256 = melody->sha256;
    clip.steering = steering;
    return clip;
}

void print_clip(const GenerateFlags& options, const std::filesystem::path& file,
                const nlohmann::json& record) {
    if (options.json) {
        std::cout << record.dump() << '\n' << std::flush;
        return;
    }
    std::cout << file.string() << "  seed " << record["seed"].get<std::uint64_t>() << "  "
              << record["prompt"].dump() << '\n'
              << std::flush;
    const auto clipped = record["clipped_samples"].get<std::int64_t>();
    if (clipped > 0)
        log_warn(file.string() + ": " + std::to_string(clipped) + " samples at or beyond full scale");
}

/// @param settings  what the records of all clips share
void save_codes(const std::string& path, const std::vector<at::Tensor>& codes, const nlohmann::json& settings,
                Overwrite overwrite) {
    TensorFile file;
    file.tensors["codes"] = at::stack(codes);  // [B, K, T], undelayed
    file.metadata[kFormatKey] = format_stamp("musicsteer-codes");
    file.metadata["settings"] = settings.dump();
    save_tensors(path, file, overwrite);
}

/// Each once.
std::vector<std::string> prompts_of(const std::vector<SessionRequest>& requests) {
    std::vector<std::string> prompts;
    for (const SessionRequest& request : requests)
        if (!request.unconditional && (prompts.empty() || prompts.back() != request.prompt))
            prompts.push_back(request.prompt);
    return prompts;
}

/// What is read and must not be replaced.
std::vector<std::string> inputs_of(const GenerateFlags& options, const std::vector<AppliedVector>& vectors) {
    std::vector<std::string> inputs = vector_files(vectors);
    inputs.push_back(options.clips.prompts_file);
    inputs.push_back(options.melody);
    for (const AppliedVector& vector : vectors) {
        if (vector.setting.origin) inputs.push_back(vector.setting.origin->path);
    }
    return inputs;
}

void run(const GenerateFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    const SampleFormat format = parse_sample_format(options.format);
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<SessionRequest> requests = expand_clips(options.clips);
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings(options.model.model));
    const std::vector<std::string> inputs = inputs_of(options, vectors);
    const bool with_baseline = options.clips.with_baseline;
    if (with_baseline && vectors.empty())
        throw UsageError("--with-baseline: nothing steers these clips; give --steer");
    ClipFiles files(options.out, requests, with_baseline, options.force, inputs);
    if (!options.save_codes.empty()) {
        if (files.holds(options.save_codes))
            throw UsageError("--save-codes " + options.save_codes + ": is also one of the clips' files");
        check_writable(options.save_codes, overwrite, inputs);
    }

    Bundle bundle = open_bundle(options.model);
    const Manifest& manifest = bundle.manifest();
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(options.sampling.duration_s);
    run.sampling = options.sampling.resolve(manifest);
    run.batch_size = options.sampling.batch_size;
    run.scored = options.score ? ScoredClips::kAll : ScoredClips::kNone;
    run.on_warning = log_warn;
    run.stop = context.stop;
    run.validate(manifest);
    check_negative_prompt(options.clips.negative_prompt, run.sampling);
    resolve_vectors(vectors, manifest, log_warn);
    const SteeringPlan plan = combined_plan(vectors);
    std::vector<SteeringSetting> steering;
    for (const AppliedVector& vector : vectors) steering.push_back(vector.resolved.setting);
    const auto is_baseline = [&](std::size_t index) { return with_baseline && index % 2 == 1; };
    std::optional<Melody> melody;
    if (!options.melody.empty()) melody = hear_melody(options.melody, manifest);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        if (!is_baseline(i)) requests[i].steering = plan;
        if (melody) requests[i].melody = melody->chroma;
    }

    const Model model = load_model(options.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, prompts_of(requests));
    const std::size_t total = requests.size();
    Progress progress("generating");
    run.on_progress = [&](double clips) {
        progress.update_units(clips, static_cast<std::int64_t>(total), total > 1 ? "clips" : "clip");
    };
    const SamplingOptions sampling = run.sampling;
    const ClipRunner runner(model, std::move(run), total, text_length_for(model.tokenizer, requests));
    const ClipSettings settings = clip_settings(options, model.manifest(), sampling, runner.shape());
    const auto record_of = [&](std::size_t index) {
        return clip_record(settings,
                           clip_spec(requests[index], runner.shape().text_length,
                                     is_baseline(index) ? std::vector<SteeringSetting>{} : steering, melody));
    };
    const auto common_settings = [&] {
        nlohmann::json record = record_of(0);
        for (const char* key : {"id", "prompt", "negative_prompt", "seed"}) record.erase(key);
        if (with_baseline) record.erase("steering");
        return record;
    };
    std::vector<at::Tensor> codes;
    runner.run(requests, [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const std::size_t index = batch.first + i;
            const std::filesystem::path file = files.wav(index);
            const Audio audio = batch.audio(i);
            write_wav(file, audio, format, overwrite);
            if (index == 0) files.steering(settings, steering);
            nlohmann::json record = record_of(index);
            record["file"] = file.filename().string();
            record["clipped_samples"] = count_full_scale_samples(as_written(audio, format));
            if (const auto& score = batch.clips[i].score) {
                record["kl_nats"] = score->kl_nats;
                record["unsteered_nll_nats"] = score->nll_nats;
            }
            files.record(index, record.dump());
            print_clip(options, file, record);
            if (!options.save_codes.empty()) codes.push_back(batch.clips[i].codes);
        }
    });
    if (!options.save_codes.empty()) save_codes(options.save_codes, codes, common_settings(), overwrite);
}

}  // namespace

void add_generate(CLI::App& app, Context& context) {
    const auto options = std::make_shared<GenerateFlags>();
    CLI::App* command = app.add_subcommand("generate", "Generate music, steered or not, as WAV files");
    command->footer(kGenerateExample);
    add_model_options(*command, options->model);
    command->add_option("--prompt", options->clips.prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command->add_option("--prompts-file", options->clips.prompts_file,
                        "Prompts from a file: JSON as prompts/neutral.json, or one a line");
    command->add_option("--negative-prompt", options->clips.negative_prompt,
                        "What guidance moves away from, instead of the null prompt");
    command->add_flag("--unconditional", options->clips.unconditional,
                      "Generate from the null state, without prompt");
    command->add_option("--melody", options->melody,
                        "Recording whose melody to follow, in any format that libsndfile reads; melody\n"
                        "checkpoints only. Sources are not separated: give the stem that carries the tune");
    command->add_option("--seed", options->clips.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->allow_extra_args(false);
    command->add_flag("--with-baseline", options->clips.with_baseline,
                      "Also write each clip without steering, as NAME-unsteered.wav");
    command
        ->add_option("--out", options->out,
                     "WAV file (its record goes beside it as .json, its steering as .steering.json), or for\n"
                     "several clips a folder of WAVs with clips.jsonl and steering.json")
        ->required();
    command->add_option("--format", options->format, "pcm16, pcm24 or float")->capture_default_str();
    command->add_option("--save-codes", options->save_codes,
                        "Also write the codes: safetensors [clips, K, frames]");
    command->add_flag(
        "--score", options->score,
        "Also record what steering costs: KL divergence from the unsteered model, and how likely\n"
        "that finds the clip, in nats a code");
    command->add_flag("--force", options->force, "Replace files that exist");
    command->add_flag("--json", options->json, "Print each clip's record as JSON");
    add_sampling_flags(*command, options->sampling);
    add_steer_flags(*command, options->steering);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
