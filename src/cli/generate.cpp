#include <ATen/ATen.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "audio/encoded_audio.hpp"
#include "audio/levels.hpp"
#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "clip_outputs.hpp"
#include "directions/provenance.hpp"
#include "experiments/clip_record.hpp"
#include "generation/clip_runner.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"
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
  musicsteer generate --model bundle --prompt "piano music" --steer faster.json --out fast.wav
  musicsteer generate --model bundle --prompt "organ music" --steer fast.steering.json --out fast-organ.wav)";

struct GenerateFlags {
    ModelOptions model;
    ClipFlags clips;
    SamplingFlags sampling;
    SteerFlags steering;
    FinishFlags finish;
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
                   const std::vector<SteeringSetting>& steering) {
    ClipSpec clip;
    if (!request.unconditional) clip.prompt = request.prompt;
    clip.negative_prompt = request.negative_prompt;
    clip.seed = request.seed;
    clip.text_length = text_length;
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
    for (const AppliedVector& vector : vectors) {
        if (vector.setting.origin) inputs.push_back(vector.setting.origin->path);
    }
    return inputs;
}

/// Of a file's name: "a0.2"; of several vectors "a0.2_-0.5"; "" without any.
std::string strength_of(const std::vector<AppliedVector>& vectors) {
    std::string text;
    for (const AppliedVector& vector : vectors)
        text += (text.empty() ? "a" : "_") + to_text(vector.setting.alpha.value_or(1.0));
    return text;
}

void run(const GenerateFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    const SampleFormat format = parse_sample_format(options.format);
    const AudioFinish finish = options.finish.finish();
    if (options.out == "-" && !finish.changes_nothing())
        throw UsageError("--rate, --loudness and --fade need the whole clip: they do not go with --out -");
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<SessionRequest> requests = expand_clips(options.clips);
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings(options.model.model));
    const std::vector<std::string> inputs = inputs_of(options, vectors);
    const bool with_baseline = options.clips.with_baseline;
    if (with_baseline && vectors.empty())
        throw UsageError("--with-baseline: nothing steers these clips; give --steer");
    ClipFiles files(options.out, requests, with_baseline, options.force, inputs, strength_of(vectors));
    check_encoding(files.wav(0), format);
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
    for (std::size_t i = 0; i < requests.size(); ++i)
        if (!is_baseline(i)) requests[i].steering = plan;

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
                                     is_baseline(index) ? std::vector<SteeringSetting>{} : steering));
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
            const FinishedAudio finished = finish_audio(batch.audio(i), finish);
            const Audio& audio = finished.audio;
            write_audio(file, audio, format, overwrite);
            if (index == 0) files.steering(settings, steering);
            nlohmann::json record = record_of(index);
            record["file"] = file.filename().string();
            record["clipped_samples"] = count_full_scale_samples(as_written(audio, format));
            report_finish(file, finish, finished, record);
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
    CLI::App* command = app.add_subcommand("generate", "Generate music, steered or not, as audio files");
    command->footer(kGenerateExample);
    add_model_options(*command, options->model);
    command->add_option("-p,--prompt", options->clips.prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command->add_option("--prompts-file", options->clips.prompts_file,
                        "Prompts from a file: JSON as prompts/neutral.json, or one a line");
    command->add_option("--negative-prompt", options->clips.negative_prompt,
                        "What guidance moves away from, instead of the null prompt");
    command->add_flag("--unconditional", options->clips.unconditional,
                      "Generate from the null state, without prompt");
    command->add_option("--seed", options->clips.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->allow_extra_args(false);
    command->add_flag("--with-baseline", options->clips.with_baseline,
                      "Also write each clip without steering, as NAME-unsteered.wav");
    command
        ->add_option("-o,--out", options->out,
                     "WAV, FLAC, Ogg or MP3 file, by its extension (its record goes beside it as .json, its\n"
                     "steering as .steering.json), or for several clips a folder of WAVs with clips.jsonl\n"
                     "and steering.json")
        ->required();
    command->add_option("--format", options->format, "pcm16, pcm24 or float; of WAV and FLAC")
        ->capture_default_str();
    command->add_option("--save-codes", options->save_codes,
                        "Also write the codes: safetensors [clips, K, frames]");
    command->add_flag(
        "--score", options->score,
        "Also record what steering costs: KL divergence from the unsteered model, and how likely\n"
        "that finds the clip, in nats a code");
    command->add_flag("--force", options->force, "Replace files that exist");
    command->add_flag("--json", options->json, "Print each clip's record as JSON");
    add_finish_flags(*command, options->finish);
    add_sampling_flags(*command, options->sampling);
    add_steer_flags(*command, options->steering);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
