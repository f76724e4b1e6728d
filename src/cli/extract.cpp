#include <iostream>
#include <memory>

#include "cli.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/extraction.hpp"
#include "musicsteer/generation_session.hpp"
#include "musicsteer/logging.hpp"
#include "musicsteer/steering.hpp"
#include "progress.hpp"
#include "vector_table.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kExample = R"(
Examples:
  musicsteer extract --model bundle --prompts prompts/tempo.json --out tempo.safetensors
  musicsteer extract --model bundle --prompts prompts/tempo.json --limit 25 --save-activations a.safetensors \
      --out tempo.safetensors
  musicsteer extract --from-activations a.safetensors --out again.safetensors)";

struct Options {
    ModelOptions model;
    std::string prompts;
    std::string out;
    SamplingFlags sampling;
    std::int64_t limit = 0;
    std::uint64_t seed = 0;
    std::string site = "resid_post";
    std::string layers = "all";
    std::string positions = "generated";
    std::string rows = "conditional";
    std::string save_activations;
    std::string from_activations;
    bool force = false;
};

Overwrite overwrite_of(const Options& options) {
    return options.force ? Overwrite::kAllow : Overwrite::kRefuse;
}

std::vector<HookPoint> points_of(const Options& options, std::int64_t num_layers) {
    std::vector<HookPoint> points;
    const Site site = parse_site(options.site);
    for (const std::int64_t layer : parse_layers(options.layers, num_layers))
        points.push_back(HookPoint::at(layer, site));
    return points;
}

std::filesystem::path progress_file_of(const std::string& out) {
    const std::filesystem::path path(out);
    return path.parent_path() / ("." + path.filename().string() + ".progress");
}

ActivationFile record(const Options& options, const Context& context) {
    options.sampling.validate();
    const PromptSet prompts = PromptSet::load(options.prompts);
    ExtractionOptions extraction;
    // What can be refused without loading the weights is refused here.
    Bundle bundle = open_bundle(options.model);
    extraction.points = points_of(options, bundle.manifest().decoder.num_layers);
    extraction.sampling = options.sampling.resolve(bundle.manifest());
    SessionOptions session;
    session.num_frames = bundle.manifest().frames_of(options.sampling.duration_s);
    session.validate(bundle.manifest());
    parse_positions(options.positions, session.num_frames, bundle.manifest().codec.frame_rate_hz);
    extraction.duration_s = options.sampling.duration_s;
    extraction.positions = options.positions;
    extraction.rows = parse_recorded_rows(options.rows);
    extraction.seed = options.seed;
    extraction.limit = options.limit;
    if (options.sampling.batch_size > 0) extraction.batch_size = options.sampling.batch_size;
    extraction.progress_file = progress_file_of(options.out);
    extraction.on_message = log_info;
    extraction.stop = context.stop;

    const Model model = load_model(options.model, std::move(bundle));
    Progress progress("extracting " + prompts.concept_name);
    extraction.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    try {
        return record_activations(model, prompts, extraction);
    } catch (const Interrupted&) {
        const bool kept = std::filesystem::exists(extraction.progress_file);
        throw Interrupted(kept ? "interrupted; the same command goes on from " +
                                     extraction.progress_file.string()
                               : "interrupted");
    }
}

void check_flags(const Options& options, const CLI::App& command) {
    if (options.from_activations.empty()) {
        if (options.model.model.empty()) throw UsageError("--model is required (or --from-activations)");
        if (options.prompts.empty()) throw UsageError("--prompts is required (or --from-activations)");
        return;
    }
    for (const char* flag :
         {"--model", "--prompts", "--limit", "--duration", "--seed", "--site", "--layers", "--positions",
          "--rows", "--save-activations", "--guidance", "--top-k", "--top-p", "--temperature"}) {
        if (command.count(flag) > 0) {
            throw UsageError(std::string(flag) +
                             " has no effect with --from-activations: it was decided when the "
                             "activations were recorded");
        }
    }
}

void run(const Options& options, const Context& context, const CLI::App& command) {
    apply_log_level(options.model.log_level);
    check_flags(options, command);
    check_writable(options.out, overwrite_of(options));
    if (!options.save_activations.empty()) check_writable(options.save_activations, overwrite_of(options));

    const ActivationFile activations = options.from_activations.empty()
                                           ? record(options, context)
                                           : ActivationFile::load(options.from_activations);
    const VectorFile vectors = compute_directions(activations);
    if (!options.save_activations.empty()) activations.save(options.save_activations, overwrite_of(options));
    vectors.save(options.out, overwrite_of(options));
    if (options.from_activations.empty()) std::filesystem::remove(progress_file_of(options.out));
    print_vector_table(std::cout, vectors);
    std::cout << "wrote " << options.out << '\n';
}

}  // namespace

void add_extract(CLI::App& app, Context& context) {
    const auto options = std::make_shared<Options>();
    CLI::App* command =
        app.add_subcommand("extract", "Find a direction from two prompt sets (difference in means)");
    command->footer(kExample);
    add_model_options(*command, options->model);
    command->get_option("--model")->required(false);
    command->add_option("--prompts", options->prompts, "Prompt set, as prompts/tempo.json");
    command->add_option("--out", options->out, "Vector file to write (safetensors)")->required();
    command->add_option("--limit", options->limit, "Use only the first N prompts of each side")
        ->check(CLI::PositiveNumber);
    command->add_option("--seed", options->seed, "Prompt i of either side gets seed + i")
        ->capture_default_str();
    command->add_option("--site", options->site, "Where in the layer to read")->capture_default_str();
    command->add_option("--layers", options->layers, "Layers to read: 2-5,7 or all")->capture_default_str();
    command
        ->add_option("--positions", options->positions,
                     "Frames that count: generated (all), last, or window:START-END in seconds")
        ->capture_default_str();
    command->add_option("--rows", options->rows, "Guidance rows to read: conditional or both")
        ->capture_default_str();
    command->add_option("--save-activations", options->save_activations,
                        "Also keep the pooled activations of every prompt (safetensors)");
    command->add_option("--from-activations", options->from_activations,
                        "Compute the vectors from kept activations, without a model");
    command->add_flag("--force", options->force, "Replace files that exist");
    add_sampling_flags(*command, options->sampling);
    command->callback([options, &context, command] {
        context.action = [options, &context, command] { run(*options, context, *command); };
    });
}

}  // namespace musicsteer::cli
