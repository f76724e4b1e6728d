#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/errors.hpp"
#include "cli.hpp"
#include "generation/activations.hpp"
#include "generation/generator.hpp"
#include "io/safetensors.hpp"
#include "model/memory.hpp"
#include "model_options.hpp"
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

void check_memory(const Model& model, const SessionOptions& session, std::size_t points) {
    BatchShape shape;
    shape.rows = session.sampling.guided() ? 2 : 1;
    shape.frames = session.num_frames;
    shape.texts = shape.rows;
    shape.text_length = kTextBucket;
    MemoryEstimate estimate = estimate_memory(model.manifest(), shape);
    estimate.codec = 0;
    // The tape, and once more while it is joined and written.
    estimate.step += 2 * points * static_cast<std::uint64_t>(shape.rows * shape.frames) *
                     static_cast<std::uint64_t>(model.manifest().decoder.hidden_size) * sizeof(float);
    require_memory(estimate, available_memory());
}

nlohmann::json metadata_rows(const GenerationSession& session) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Row& row : session.rows()) rows.push_back(row.role == RowRole::kNull ? "null" : "conditional");
    return rows;
}

void run(const RecordFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    options.sampling.validate();
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<AppliedVector> vectors = load_vectors(options.steering.settings(options.model.model));
    check_writable(options.out, overwrite);
    SessionOptions session_options;
    std::vector<HookPoint> points;
    Bundle bundle = open_bundle(options.model);
    const Manifest& manifest = bundle.manifest();
    points = parse_hooks(options.hooks, manifest.decoder.num_layers);
    session_options.num_frames = manifest.frames_of(options.sampling.duration_s);
    session_options.sampling = options.sampling.resolve(manifest);
    session_options.validate(manifest);
    check_negative_prompt(options.negative_prompt, session_options.sampling);
    resolve_vectors(vectors, manifest, log_warn);
    const Model model = load_model(options.model, std::move(bundle));
    check_memory(model, session_options, points.size());
    warn_of_unknown(model.tokenizer, {&options.prompt, options.unconditional ? std::size_t{0} : 1});

    SessionRequest request;
    request.prompt = options.prompt;
    request.unconditional = options.unconditional;
    request.negative_prompt = options.negative_prompt;
    request.seed = options.seed;
    request.steering = combined_plan(vectors);
    GenerationSession session(model, {request}, session_options);
    const ActivationTape tape(session.hooks(), points);
    Progress progress("recording");
    run_session(session, context.stop,
                [&](std::int64_t) { progress.update(session.position(), session.num_positions()); });

    nlohmann::json steering = nlohmann::json::array();
    for (const AppliedVector& vector : vectors) steering.push_back(setting_json(vector.resolved.setting));
    TensorFile file;
    for (const HookPoint& point : points)
        file.tensors[point.name()] = tape.activations(point, session_options.num_frames);
    file.metadata = {
        {kFormatKey, format_stamp("musicsteer-record")},
        {"model", model.manifest().model_name},
        {"weights_sha256", model.manifest().weights_sha256},
        {"prompt", options.unconditional ? "" : options.prompt},
        {"unconditional", options.unconditional ? "true" : "false"},
        {"negative_prompt", options.negative_prompt.value_or("")},
        {"seed", std::to_string(options.seed)},
        {"guidance_scale", nlohmann::json(session_options.sampling.guidance_scale).dump()},
        {"top_k", std::to_string(session_options.sampling.top_k)},
        {"top_p", nlohmann::json(session_options.sampling.top_p).dump()},
        {"temperature", nlohmann::json(session_options.sampling.temperature).dump()},
        {"frame_rate_hz", nlohmann::json(model.manifest().codec.frame_rate_hz).dump()},
        {"steering", steering.dump()},
        {"rows", metadata_rows(session).dump()},
    };
    save_tensors(options.out, file, overwrite);
    std::cout << "wrote " << options.out << ": " << points.size() << " hook points, " << session.rows().size()
              << " rows, " << session_options.num_frames << " frames, seed " << options.seed << '\n';
}

}  // namespace

void add_record(CLI::App& app, Context& context) {
    const auto options = std::make_shared<RecordFlags>();
    CLI::App* command = app.add_subcommand("record", "Record raw activations while one clip is generated");
    command->footer(kRecordExample);
    add_model_options(*command, options->model);
    CLI::Option* prompt = command->add_option("--prompt", options->prompt, "What to play");
    CLI::Option* unconditional =
        command->add_flag("--unconditional", options->unconditional, "The null state instead of a prompt");
    prompt->excludes(unconditional);
    command->add_option("--negative-prompt", options->negative_prompt,
                        "What guidance moves away from, instead of the null prompt");
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
            "--out", options->out,
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
