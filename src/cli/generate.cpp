#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "base/logging.hpp"
#include "cli.hpp"
#include "clip_outputs.hpp"
#include "experiments/clip_record.hpp"
#include "generation/generator.hpp"
#include "generation/scoring.hpp"
#include "io/safetensors.hpp"
#include "model_options.hpp"
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
    std::string out;
    std::string format = "pcm16";
    std::string save_codes;
    bool score = false;
    bool force = false;
    bool json = false;
};

ClipSettings clip_settings(const GenerateFlags& options, const Manifest& manifest,
                           const GeneratorOptions& generator, std::size_t clips) {
    ClipSettings settings = ClipSettings::of(manifest, generator.duration_s, generator.sampling);
    settings.sample_format = options.format;
    settings.batch_size = resolve_batch_size(generator.batch_size, static_cast<std::int64_t>(clips));
    settings.threads = at::get_num_threads();
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
    if (clipped > 0) log_warn(file.string() + ": " + std::to_string(clipped) + " samples beyond full scale");
}

/// @param record  of any of the clips
void save_codes(const std::string& path, const std::vector<at::Tensor>& codes, nlohmann::json record,
                Overwrite overwrite) {
    for (const char* key : {"prompt", "negative_prompt", "seed"}) record.erase(key);
    TensorFile file;
    file.tensors["codes"] = at::stack(codes);  // [B, K, T], undelayed
    file.metadata[kFormatKey] = format_stamp("musicsteer-codes");
    file.metadata["settings"] = record.dump();
    save_tensors(path, file, overwrite);
}

/// Clips are scored one by one, so that a score does not depend on a clip's companions.
ScoringOptions scoring_options(const GeneratorOptions& generator, std::int64_t text_length) {
    ScoringOptions scoring;
    scoring.sampling = generator.sampling;
    scoring.sampling.temperature = 1.0;
    scoring.batch_size = 1;
    scoring.text_length = text_length;
    scoring.stop = generator.stop;
    return scoring;
}

/// What steering cost, in nats a frame, summed over codebooks.
nlohmann::json score_json(const Model& model, SessionRequest request, const at::Tensor& codes,
                          const ScoringOptions& scoring) {
    request.forced_codes = codes;
    const ClipScore score = score_clips(model, {&request, 1}, scoring).front();
    const bool is_steered = std::any_of(request.steering.begin(), request.steering.end(),
                                        [](const Injection& injection) { return injection.strength != 0.0; });
    const auto codebooks = static_cast<double>(codes.size(0));
    return {{"kl_nats_per_frame", is_steered ? score.kl_nats * codebooks : 0.0},
            {"unsteered_nll_nats_per_frame", score.nll_nats * codebooks}};
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

void run(const GenerateFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    const SampleFormat format = parse_sample_format(options.format);
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<SessionRequest> requests = expand_clips(options.clips);
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings(options.model.model));
    const std::vector<std::string> inputs = inputs_of(options, vectors);
    ClipFiles files(options.out, requests, options.force, inputs);
    if (!options.save_codes.empty()) {
        if (files.holds(options.save_codes))
            throw UsageError("--save-codes " + options.save_codes + ": is also one of the clips' files");
        check_writable(options.save_codes, overwrite, inputs);
    }

    GeneratorOptions generator;
    Bundle bundle = open_bundle(options.model);
    generator.duration_s = options.sampling.duration_s;
    generator.batch_size = options.sampling.batch_size;
    generator.sampling = options.sampling.resolve(bundle.manifest());
    generator.stop = context.stop;
    generator.validate(bundle.manifest());
    check_negative_prompt(options.clips.negative_prompt, generator.sampling);
    resolve_vectors(vectors, bundle.manifest(), log_warn);
    const SteeringPlan plan = combined_plan(vectors);
    std::vector<SteeringSetting> steering;
    for (const AppliedVector& vector : vectors) steering.push_back(vector.resolved.setting);
    for (SessionRequest& request : requests) request.steering = plan;

    const Model model = load_model(options.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, prompts_of(requests));
    const ClipSettings settings = clip_settings(options, model.manifest(), generator, requests.size());
    const std::int64_t text_length = text_length_for(model.tokenizer, requests);
    const auto record_of = [&](const SessionRequest& request) {
        return clip_record(settings, clip_spec(request, text_length, steering));
    };
    std::vector<at::Tensor> codes;
    const ScoringOptions scoring = scoring_options(generator, text_length);
    Progress progress("generating");
    generator.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    generate(model, requests, generator, [&](std::size_t index, Clip clip) {
        const std::filesystem::path file = files.wav(index);
        const WriteReport written = write_wav(file, clip.audio, format, overwrite);
        if (index == 0) files.steering(settings, steering);
        nlohmann::json record = record_of(requests[index]);
        record["file"] = file.filename().string();
        record["clipped_samples"] = written.clipped_samples;
        if (options.score) record["score"] = score_json(model, requests[index], clip.codes, scoring);
        files.record(index, record.dump());
        print_clip(options, file, record);
        if (!options.save_codes.empty()) codes.push_back(clip.codes);
    });
    if (!options.save_codes.empty())
        save_codes(options.save_codes, codes, record_of(requests.front()), overwrite);
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
    command->add_option("--seed", options->clips.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->allow_extra_args(false);
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
        "that finds the clip, in nats a frame");
    command->add_flag("--force", options->force, "Replace files that exist");
    command->add_flag("--json", options->json, "Print each clip's record as JSON");
    add_sampling_flags(*command, options->sampling);
    add_steer_flags(*command, options->steering);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
