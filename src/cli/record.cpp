#include <array>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/logging.hpp"
#include "cli.hpp"
#include "directions/provenance.hpp"
#include "generation/activations.hpp"
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

constexpr const char* kRecordExample = R"(
Example:
  musicsteer record --model bundle --prompt "piano music" --hooks decoder.3.resid_post,decoder.final_norm \
      --duration 4 --out acts.safetensors)";

struct RecordFlags {
    ModelOptions model;
    std::string prompt;
    bool unconditional = false;
    std::optional<std::string> negative_prompt;
    std::string melody;
    std::uint64_t seed = 0;
    std::string hooks;
    std::string out;
    SamplingFlags sampling;
    SteerFlags steering;
    bool force = false;
};

std::vector<HookPoint> parse_hooks(const std::string& text, std::int64_t num_layers) {
    if (text == "all") return HookPoint::all(num_layers);
    std::vector<HookPoint> points;
    std::istringstream names(text);
    for (std::string name; std::getline(names, name, ',');)
        points.push_back(HookPoint::parse(name, num_layers));
    if (points.empty()) throw UsageError("--hooks names no hook point");
    return points;
}

nlohmann::json metadata_rows(std::span<const Row> of_session) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Row& row : of_session) rows.push_back(row.role == RowRole::kNull ? "null" : "conditional");
    return rows;
}

void run(const RecordFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    if (options.unconditional && options.negative_prompt)
        throw UsageError("--unconditional takes no negative prompt");
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings(options.model.model));
    check_writable(options.out, overwrite, std::array{options.melody});
    Bundle bundle = open_bundle(options.model);
    const Manifest& manifest = bundle.manifest();
    const std::vector<HookPoint> points = parse_hooks(options.hooks, manifest.decoder.num_layers);
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(options.sampling.duration_s);
    run.sampling = options.sampling.resolve(manifest);
    run.melody = hear_melody(options.melody, manifest, options.sampling.duration_s);
    run.batch_size = 1;
    run.with_audio = false;
    run.on_warning = log_warn;
    run.stop = context.stop;
    run.validate(manifest);
    // The recording, and a copy while it is joined and written.
    run.recorded_bytes = 2 * points.size() * (run.sampling.guided() ? 2 : 1) *
                         static_cast<std::uint64_t>(run.num_frames * manifest.decoder.hidden_size) *
                         sizeof(float);
    check_negative_prompt(options.negative_prompt, run.sampling);
    resolve_vectors(vectors, manifest, log_warn);
    const Model model = load_model(options.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, {&options.prompt, options.unconditional ? std::size_t{0} : 1});

    SessionRequest request;
    request.prompt = options.prompt;
    request.unconditional = options.unconditional;
    request.negative_prompt = options.negative_prompt;
    request.seed = options.seed;
    request.steering = combined_plan(vectors);
    std::optional<ActivationTape> tape;
    nlohmann::json rows;
    run.on_session = [&](GenerationSession& session, std::size_t, std::size_t) {
        tape.emplace(session.hooks(), points);
        rows = metadata_rows(session.rows());
    };
    Progress progress("recording");
    run.on_progress = [&](double clips) { progress.update_units(clips, 1, "clip"); };
    const std::int64_t num_frames = run.num_frames;
    const SamplingOptions sampling = run.sampling;
    const std::string melody_sha256 = run.melody.sha256;
    const std::int64_t text_length = text_length_for(model.tokenizer, {&request, 1});
    ClipRunner(model, std::move(run), 1, text_length).run({&request, 1}, [](const FinishedBatch&) {});

    nlohmann::json steering = nlohmann::json::array();
    for (const AppliedVector& vector : vectors) steering.push_back(setting_json(vector.resolved.setting));
    TensorFile file;
    for (const HookPoint& point : points) file.tensors[point.name()] = tape->activations(point, num_frames);
    file.metadata = {
        {kFormatKey, format_stamp("musicsteer-record")},
        {"model", model.manifest().model_name},
        {"weights_sha256", model.manifest().weights_sha256},
        {"prompt", options.unconditional ? "" : options.prompt},
        {"unconditional", options.unconditional ? "true" : "false"},
        {"negative_prompt", options.negative_prompt.value_or("")},
        {"seed", std::to_string(options.seed)},
        {"guidance_scale", nlohmann::json(sampling.guidance_scale).dump()},
        {"top_k", std::to_string(sampling.top_k)},
        {"top_p", nlohmann::json(sampling.top_p).dump()},
        {"temperature", nlohmann::json(sampling.temperature).dump()},
        {"frame_rate_hz", nlohmann::json(model.manifest().codec.frame_rate_hz).dump()},
        {"steering", steering.dump()},
        {"rows", rows.dump()},
    };
    if (!melody_sha256.empty()) file.metadata["melody_sha256"] = melody_sha256;
    save_tensors(options.out, file, overwrite);
    std::cout << "wrote " << options.out << ": " << points.size() << " hook points, " << rows.size()
              << " rows, " << num_frames << " frames, seed " << options.seed << '\n';
}

}  // namespace

void add_record(CLI::App& app, Context& context) {
    const auto options = std::make_shared<RecordFlags>();
    CLI::App* command = app.add_subcommand("record", "Record raw activations while one clip is generated");
    command->footer(kRecordExample);
    add_model_options(*command, options->model);
    CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "What to play");
    CLI::Option* unconditional =
        command->add_flag("--unconditional", options->unconditional, "The null state instead of a prompt");
    prompt->excludes(unconditional);
    command->add_option("--negative-prompt", options->negative_prompt,
                        "What guidance moves away from, instead of the null prompt");
    add_melody_flag(*command, options->melody);
    command->add_option("--seed", options->seed, "Seed")->check(whole_number())->capture_default_str();
    command
        ->add_option(
            "--hooks", options->hooks,
            "Hook points, separated by commas, or all: decoder.embed, decoder.LAYER.SITE with the sites\n"
            "resid_pre, self_attn_heads, self_attn_out, resid_post_self, cross_attn_out,\n"
            "resid_post_cross, mlp_out, resid_post; decoder.final_norm")
        ->required();
    command
        ->add_option(
            "-o,--out", options->out,
            "safetensors file: one tensor [rows, frames, D] for each hook point, conditional row\nfirst")
        ->required();
    command->add_flag("--force", options->force, "Replace a file that exists");
    add_sampling_flags(*command, options->sampling);
    command->remove_option(command->get_option("--batch-size"));
    add_steer_flags(*command, options->steering);
    command->callback([options, prompt, &context] {
        if (prompt->count() == 0 && !options->unconditional)
            throw CLI::RequiredError("--prompt or --unconditional");
        context.action = [options, &context] { run(*options, context); };
    });
}

}  // namespace musicsteer::cli
