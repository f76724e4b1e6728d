#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "generate_plan.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/generator.hpp"
#include "musicsteer/logging.hpp"
#include "musicsteer/safetensors.hpp"
#include "progress.hpp"
#include "steer_options.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kExample = R"(
Examples:
  musicsteer generate --model bundle --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer generate --model bundle --prompts-file prompts/neutral.json --seed 0:4 \
      --steer tempo.safetensors:alpha=1:layers=2-5 --steer brightness.safetensors:alpha=-0.5 --out clips)";

struct Options {
    ModelOptions model;
    ClipFlags clips;
    SamplingFlags sampling;
    SteerFlags steering;
    std::string out;
    std::string format = "pcm16";
    std::string save_codes;
    bool force = false;
    bool json = false;
};

/// Everything that determines the clip's bytes, and nothing that depends on the clock.
nlohmann::json common_record(const Options& options, const Model& model, const GeneratorOptions& generator,
                             const std::vector<SessionRequest>& requests,
                             const std::vector<AppliedVector>& vectors) {
    const Manifest& manifest = model.manifest();
    nlohmann::json steering = nlohmann::json::array();
    for (const AppliedVector& vector : vectors) steering.push_back(vector.to_json());
    return {
        {"musicsteer", MUSICSTEER_VERSION},
        {"model", {{"name", manifest.model_name}, {"weights_sha256", manifest.weights_sha256}}},
        {"duration_s", generator.duration_s},
        {"num_frames", manifest.frames_of(generator.duration_s)},
        {"sample_rate_hz", manifest.codec.sample_rate_hz},
        {"format", options.format},
        {"guidance_scale", generator.sampling.guidance_scale},
        {"top_k", generator.sampling.top_k},
        {"top_p", generator.sampling.top_p},
        {"temperature", generator.sampling.temperature},
        {"steering", std::move(steering)},
        {"execution",
         {{"batch_size",
           resolve_batch_size(generator.batch_size, static_cast<std::int64_t>(requests.size()))},
          {"text_length", text_length_for(model.tokenizer, requests)},
          {"threads", at::get_num_threads()},
          {"device", options.model.device},
          {"precision", manifest.precision}}},
    };
}

nlohmann::json clip_record(nlohmann::json record, const SessionRequest& request,
                           const std::filesystem::path& file, const WriteReport& written) {
    record["file"] = file.filename().string();
    record["prompt"] = request.unconditional ? nlohmann::json() : nlohmann::json(request.prompt);
    if (request.negative_prompt) record["negative_prompt"] = *request.negative_prompt;
    record["seed"] = request.seed;
    record["clipped_samples"] = written.clipped_samples;
    return record;
}

void print_clip(const Options& options, const std::filesystem::path& file, const nlohmann::json& record) {
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

void save_codes(const std::string& path, const std::vector<at::Tensor>& codes, const nlohmann::json& common,
                Overwrite overwrite) {
    TensorFile file;
    file.tensors["codes"] = at::stack(codes);  // [B, K, T], undelayed
    file.metadata[kFormatKey] = format_stamp("musicsteer-codes");
    file.metadata["settings"] = common.dump();
    save_tensors(path, file, overwrite);
}

void run(const Options& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    const SampleFormat format = parse_sample_format(options.format);
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<SessionRequest> requests = expand_clips(options.clips);
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings());
    ClipFiles files(options.out, requests, options.force);
    if (!options.save_codes.empty()) check_writable(options.save_codes, overwrite);

    GeneratorOptions generator;
    Bundle bundle = open_bundle(options.model);
    generator.duration_s = options.sampling.duration_s;
    generator.batch_size = options.sampling.batch_size;
    generator.sampling = options.sampling.resolve(bundle.manifest());
    generator.stop = context.stop;
    generator.validate(bundle.manifest());
    resolve_vectors(vectors, bundle.manifest());
    for (SessionRequest& request : requests) request.steering = combined_plan(vectors);

    const Model model = load_model(options.model, std::move(bundle));
    const nlohmann::json common = common_record(options, model, generator, requests, vectors);
    std::vector<at::Tensor> codes;
    Progress progress("generating");
    generator.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    generate(model, requests, generator, [&](std::size_t index, Clip clip) {
        const std::filesystem::path file = files.wav(index);
        const WriteReport written = write_wav(file, clip.audio, format, overwrite);
        const nlohmann::json record = clip_record(common, requests[index], file, written);
        files.record(index, record.dump());
        print_clip(options, file, record);
        if (!options.save_codes.empty()) codes.push_back(clip.codes);
    });
    if (!options.save_codes.empty()) save_codes(options.save_codes, codes, common, overwrite);
}

}  // namespace

void add_generate(CLI::App& app, Context& context) {
    const auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("generate", "Generate music, steered or not, as WAV files");
    command->footer(kExample);
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
                     "WAV file (its record goes beside it as .json), or for several clips a\n"
                     "folder of WAVs with clips.jsonl")
        ->required();
    command->add_option("--format", options->format, "pcm16, pcm24 or float")->capture_default_str();
    command->add_option("--save-codes", options->save_codes,
                        "Also write the codes: safetensors [clips, K, frames]");
    command->add_flag("--force", options->force, "Replace files that exist");
    command->add_flag("--json", options->json, "Print each clip's record as JSON");
    add_sampling_flags(*command, options->sampling);
    add_steer_flags(*command, options->steering);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
