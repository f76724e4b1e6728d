#include "sweep_options.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "experiments/sweep/sweep_folder.hpp"
#include "io/json_differences.hpp"
#include "model/memory.hpp"
#include "musicsteer/errors.hpp"
#include "steering/steering_source.hpp"
#include "tokenizer/tokenizer.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kGridFlags[] = {"--prompt",   "--prompts",     "--limit",  "--negative-prompt",
                                      "--seeds",    "--steer",       "--alphas", "--duration",
                                      "--guidance", "--top-k",       "--top-p",  "--temperature",
                                      "--format",   "--tempo-prior", "--melody"};

std::string flag_of(const SteeringAxis& axis) {
    std::string flag = "--";
    flag += axis.key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
}

std::vector<std::string> grid_flags() {
    std::vector<std::string> flags(std::begin(kGridFlags), std::end(kGridFlags));
    for (const SteeringAxis& axis : steering_axes()) flags.push_back(flag_of(axis));
    return flags;
}

bool any_given(const CLI::App& command) {
    const std::vector<std::string> flags = grid_flags();
    return std::any_of(flags.begin(), flags.end(),
                       [&](const std::string& flag) { return command.count(flag) > 0; });
}

void refuse_grid_flags(const CLI::App& command, const std::string& source) {
    for (const std::string& flag : grid_flags()) {
        if (command.count(flag) > 0)
            throw UsageError(flag + " is given beside " + source + ", which says it already");
    }
}

/// "FILE:layers=2-5:strategy=single": what is said there is this vector's only value on that axis. What a
/// steering file or a bundle's direction says is its default where neither that nor a flag says otherwise.
SweepVector parse_vector(const std::string& text, const SweepFlags& flags) {
    const SteeringSetting typed = SteeringSetting::parse(text);
    const std::vector<SteeringSetting> settings = expand_steering(typed, flags.model.model);
    if (settings.size() > 1)
        throw UsageError("--steer " + text + ": a sweep tries vectors one by one, and this file has several");
    SweepVector vector{settings.front(), SteeringAxes::of(settings.front())};
    const SteeringAxes of_text = SteeringAxes::of(typed);
    if (!flags.alphas.empty() && of_text.alphas.empty()) vector.axes.alphas.clear();
    for (const auto& [field, values] : flags.axes) {
        if (!of_text.values.contains(field)) vector.axes.values.erase(field);
    }
    return vector;
}

SweepRequest request_of_flags(const SweepFlags& flags) {
    flags.sampling.validate();
    SweepRequest request;
    request.prompts = flags.prompts;
    request.prompts_file = flags.prompts_file;
    request.limit = flags.limit;
    request.negative_prompt = flags.negative_prompt;
    request.melody = flags.melody;
    if (!flags.seeds.empty()) request.seeds = parse_seeds(flags.seeds);
    for (const std::string& text : flags.steer) request.vectors.push_back(parse_vector(text, flags));
    if (!flags.alphas.empty()) request.axes.alphas = parse_alphas(flags.alphas);
    for (const SteeringAxis& axis : steering_axes()) {
        const auto typed = flags.axes.find(axis.field);
        if (typed != flags.axes.end()) request.axes.values[axis.field] = parse_axis(axis, typed->second);
    }
    request.duration_s = flags.sampling.duration_s;
    request.guidance_scale = flags.sampling.guidance;
    request.top_k = flags.sampling.top_k;
    request.top_p = flags.sampling.top_p;
    request.temperature = flags.sampling.temperature;
    request.sample_format = flags.format;
    if (!flags.tempo_prior.empty()) request.tempo_prior = flags.tempo_prior;
    return request;
}

template <typename Value>
void set_from_flag(std::optional<Value>& slot, const CLI::App& command, const char* flag,
                   const Value& value) {
    if (command.count(flag) == 0) return;
    if (slot) throw UsageError(std::string(flag) + " is given twice: in the plan and as a flag");
    slot = value;
}

/// The flags that may be combined with a plan file.
void add_run_flags(SweepRequest& request, const SweepFlags& flags, const CLI::App& command) {
    if (!flags.model.model.empty()) request.model = flags.model.model;
    if (request.model.empty()) throw UsageError("--model is required");
    if (flags.sampling.batch_size > 0)
        set_from_flag(request.batch_size, command, "--batch-size", flags.sampling.batch_size);
    if (flags.model.threads > 0)
        set_from_flag(request.threads, command, "--threads", std::int64_t{flags.model.threads});
    set_from_flag(request.device, command, "--device", flags.model.device);
    request.measure_command = flags.measure_command;
    if (flags.no_audio) request.audio = false;
    if (flags.kl) request.kl = true;
}

/// A folder's plan.json states its format; a plan written by hand does not.
bool is_stored_plan(const std::string& file) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored)) return false;
    std::ifstream stream(file);
    const nlohmann::json content = nlohmann::json::parse(stream, nullptr, false);
    return content.is_object() && content.contains("format") && content.contains("format_version");
}

/// A plan records the command that measured its clips, but only what is typed is run.
void require_measure_command(const SweepPlan& plan, const SweepFlags& flags) {
    if (plan.measure_command == flags.measure_command) return;
    throw UsageError(plan.measure_command.empty()
                         ? "this sweep was begun without --measure-command: sweep into a new folder"
                         : "this sweep was begun with --measure-command " + in_quotes(plan.measure_command) +
                               ": give the same again");
}

Bundle open_sweep_bundle(ModelOptions options, const std::string& path, const std::string& device) {
    options.model = path;
    options.device = device;
    return open_bundle(options);
}

/// A stored plan, unchanged, for the model that it was made for.
PlannedSweep adopt(const SweepPlan& plan, const std::string& origin, const SweepFlags& flags,
                   const CLI::App& command) {
    refuse_grid_flags(command, origin);
    for (const char* flag : {"--batch-size", "--memory", "--threads", "--device", "--no-audio", "--kl"}) {
        if (command.count(flag) > 0)
            throw UsageError(std::string(flag) + " is fixed by " + origin + ": leave it out");
    }
    require_measure_command(plan, flags);
    const std::string model = flags.model.model.empty() ? plan.model_path : flags.model.model;
    PlannedSweep planned{plan, open_sweep_bundle(flags.model, model, plan.settings.device)};
    const Manifest& manifest = planned.bundle.manifest();
    if (manifest.weights_sha256 != plan.settings.weights_sha256) {
        throw InputError(origin + ": was made for the model " + plan.settings.model_name + " (weights " +
                         plan.settings.weights_sha256.substr(0, 12) + "), and " + model + " is " +
                         manifest.model_name + " (weights " + manifest.weights_sha256.substr(0, 12) + ")");
    }
    if (manifest.precision != plan.settings.precision) {
        throw InputError(origin + ": was made in another precision, " + model +
                         " differs: " + json_differences(plan.settings.precision, manifest.precision) +
                         "; give a --model of the plan's precision, or sweep into a new folder");
    }
    if (program_version() != plan.settings.version) {
        throw InputError(origin + ": was made by musicsteer " + plan.settings.version + ", and this is " +
                         program_version() + ": sweep into a new folder");
    }
    const SoundGrids now = SoundGrids::of(manifest.codec.sample_rate_hz);
    if (const std::string obstacle = obstacle_of_grids(plan.grids, now); !obstacle.empty())
        throw InputError(origin + ": " + obstacle + ": sweep into a new folder");
    return planned;
}

PlannedSweep expand(SweepRequest request, const SweepFlags& flags, const CLI::App& command,
                    const std::optional<SweepPlan>& earlier) {
    add_run_flags(request, flags, command);
    if (request.batch_size && flags.memory > 0)
        throw UsageError("--memory has no effect beside a batch size: it chooses one");
    if (earlier && !request.batch_size) request.batch_size = earlier->settings.batch_size;
    if (earlier && !request.threads) request.threads = earlier->settings.threads;
    PlanOptions options;
    options.device = request.device.value_or("cpu");
    options.on_warning = log_warn;
    Bundle bundle = open_sweep_bundle(flags.model, request.model, options.device);
    options.memory = flags.memory > 0 ? flags.memory
                                      : default_memory(bundle.manifest(), available_memory(bundle.device()));
    const Tokenizer tokenizer = Tokenizer::load(bundle.file("tokenizer.json"));
    SweepPlan plan = make_sweep_plan(request, bundle.manifest(), tokenizer, options);
    return {std::move(plan), std::move(bundle)};
}

}  // namespace

std::optional<SweepPlan> stored_plan(const std::string& folder) {
    const SweepPaths paths{folder};
    std::error_code ignored;
    if (!std::filesystem::exists(paths.plan(), ignored)) return std::nullopt;
    return SweepPlan::load(paths.plan());
}

PlannedSweep plan_sweep(const SweepFlags& flags, const CLI::App& command) {
    const std::optional<SweepPlan> earlier = stored_plan(flags.out);
    if (earlier) require_measure_command(*earlier, flags);
    PlannedSweep planned = [&] {
        if (!flags.plan.empty() && is_stored_plan(flags.plan))
            return adopt(SweepPlan::load(flags.plan), flags.plan, flags, command);
        if (!flags.plan.empty()) {
            refuse_grid_flags(command, flags.plan);
            return expand(SweepRequest::load(flags.plan), flags, command, earlier);
        }
        if (!any_given(command) && earlier)
            return adopt(*earlier, SweepPaths{flags.out}.plan().string(), flags, command);
        return expand(request_of_flags(flags), flags, command, earlier);
    }();
    if (!flags.shard.empty()) planned.plan.shard = Shard::parse(flags.shard);
    return planned;
}

namespace {

void add_grid_flags(CLI::App& command, SweepFlags& flags) {
    const char* group = "Grid";
    command.add_option("-p,--prompt", flags.prompts, "What to play; may be repeated")
        ->allow_extra_args(false)
        ->group(group);
    command
        .add_option("--prompts", flags.prompts_file,
                    "Prompts from a file: JSON as prompts/neutral.json, or one per line")
        ->group(group);
    command.add_option("--limit", flags.limit, "Use only the first N prompts of the file")
        ->check(whole_number(1))
        ->group(group);
    command
        .add_option("--negative-prompt", flags.negative_prompt,
                    "Prompt that guidance moves away from, instead of the null prompt")
        ->group(group);
    add_melody_flag(command, flags.melody);
    command.get_option("--melody")->group(group);
    command.add_option("--seeds", flags.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->group(group);
    command
        .add_option("--steer", flags.steer,
                    "Vector file, steering file, or name of a direction of the bundle; settings may follow:\n"
                    "FILE:layers=2-5:source-layer=4. May be repeated: each is tried by itself, not together")
        ->allow_extra_args(false)
        ->group(group);
    command
        .add_option("--alphas", flags.alphas,
                    "Strengths: -1,0,1 or FIRST:LAST:STEP, LAST included; 0 is unsteered and made only once")
        ->group(group);
    for (const SteeringAxis& axis : steering_axes()) {
        const std::string field = axis.field;
        command
            .add_option_function<std::string>(
                flag_of(axis), [&flags, field](const std::string& text) { flags.axes[field] = text; },
                axis.help)
            ->type_name("LIST")
            ->group(group);
    }
}

}  // namespace

void add_sweep_flags(CLI::App& command, SweepFlags& flags) {
    add_model_options(command, flags.model);
    command.get_option("--model")->required(false);
    command.add_option("-o,--out", flags.out, "Folder of the sweep; an existing one is resumed")
        ->required()
        ->type_name("DIR");
    command.add_option("--plan", flags.plan, "The grid from a file (docs/sweep-plan.schema.json)");
    add_grid_flags(command, flags);
    add_sampling_flags(command, flags.sampling);
    command.get_option("--batch-size")
        ->description(
            "Clips computed together; part of what determines the last bits, and fixed by the folder's\n"
            "first run [by --memory, at most 16]");
    command
        .add_option("--memory", flags.memory,
                    "Memory for batches, such as 4GB [half of what is free beside the model]")
        ->transform(CLI::AsSizeValue(true));
    command.add_option("--format", flags.format, "pcm16, pcm24 or float")->capture_default_str();
    add_tempo_prior(command, flags.tempo_prior);
    add_measure_command(command, flags.measure_command);
    command.add_flag("--no-audio", flags.no_audio, "Keep only the records, no WAV files");
    command.add_flag(
        "--kl", flags.kl,
        "Also score how far steering moved the model's predictions along each clip, as kl_nats;\n"
        "doubles the time");
    command.add_option("--shard", flags.shard,
                       "Make only part I of N, such as 2/4; each part needs its own folder");
    command
        .add_option("--merge", flags.merge, "Instead of making clips, join these shards' folders into --out")
        ->expected(1, -1);
    command.add_flag("--dry-run", flags.dry_run, "Print what would be done, and do nothing");
    command.add_flag("--json", flags.json, "Print the summary as JSON");
}

}  // namespace musicsteer::cli
