#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/logging.hpp"
#include "calibrate_clips.hpp"
#include "calibrate_report.hpp"
#include "cli.hpp"
#include "experiments/calibrate/clip_log.hpp"
#include "experiments/sound_grids.hpp"
#include "experiments/sweep/sweep_plan.hpp"
#include "io/atomic_file.hpp"
#include "io/output_lock.hpp"
#include "model/memory.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "prompts/prompt_choice.hpp"
#include "steer_options.hpp"
#include "steering/applied_vector.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kCalibrateFooter = R"(
A target is a change of the unsteered clips' mean (tempo=+20%, centroid=-30%) or a value (tempo=120,
loudness=-16). Measures: tempo, onsets, centroid, rolloff, bandwidth, flatness, rms, loudness, peak, silence,
or their names in the records of measure. With several vectors the first --target belongs to the first
--steer and so on. All strengths are found together, which makes up for the effect of one vector on another's
measure.

Each pair of clips, unsteered and steered, has its own seed and the next prompt in turn. Every third prompt (of
two, the second) is held out: the search uses the others, with seeds from --seed on, and its result is checked
once on the held-out prompts with the seeds that follow. A single prompt serves for both.
Pairs are added until chance is small compared with the tolerance; --max-pairs limits the time.
Strengths are tried as far as the cap on KL allows, the mean change of the model's predictions along the steered
clips. With --out, measurements are kept beside it, and the same command resumes a calibration that was stopped.

The exit code is 1, and no steering file is written, if a target can't be reached within the cap, if the held-out
clips miss it by more than the tolerance, or if their interval is too wide to tell. The report says how close it
came.

Examples:
  musicsteer calibrate --model bundle --steer tempo.safetensors:rows=conditional --target tempo=+20% \
      --prompts prompts/neutral.json --out faster.json
  musicsteer calibrate --model bundle --steer tempo.safetensors --target tempo=120 \
      --steer bright.safetensors:layers=3:strategy=single --target centroid=-30% \
      --prompts prompts/neutral.json --out fast-and-dark.json
  musicsteer generate --model bundle --prompt "piano music" --steer faster.json --out fast.wav)";

struct CalibrateFlags {
    ModelOptions model;
    SteerFlags steering;
    std::vector<std::string> targets;
    std::vector<std::string> prompts;
    std::string prompts_file;
    std::int64_t limit = 0;
    std::optional<std::string> negative_prompt;
    std::string melody;
    std::uint64_t seed = 0;
    SamplingFlags sampling;
    std::string tempo_prior;
    std::string measure_command;
    std::uint64_t memory = 0;
    CalibrationOptions search;
    std::optional<std::size_t> pairs;
    std::optional<std::size_t> check_pairs;
    std::optional<std::size_t> max_pairs;
    double tolerance_points = 5.0;
    std::string out;
    bool force = false;
    bool json = false;
};

std::vector<std::string> distinct(std::vector<std::string> texts) {
    std::vector<std::string> found;
    std::set<std::string> seen;
    for (std::string& text : texts) {
        if (seen.insert(text).second) found.push_back(std::move(text));
    }
    return found;
}

/// Every third is held out; of two, the second. A single one serves for both.
void split_prompts(const std::vector<std::string>& prompts, CalibrationSetup& setup) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const bool held_out = i % 3 == 2 || (prompts.size() == 2 && i == 1);
        (held_out ? setup.check_prompts : setup.search_prompts).push_back(prompts[i]);
    }
    if (setup.check_prompts.empty()) setup.check_prompts = setup.search_prompts;
}

std::vector<SteeringSetting> steer_settings(const CalibrateFlags& options) {
    std::vector<SteeringSetting> settings = options.steering.settings(options.model.model);
    if (settings.empty()) throw UsageError("no vector: give --steer FILE");
    if (settings.size() != options.targets.size()) {
        throw UsageError("give one --target for each --steer, in the same order: there are " +
                         std::to_string(settings.size()) + " of the one and " +
                         std::to_string(options.targets.size()) + " of the other");
    }
    for (SteeringSetting& setting : settings) {
        if (setting.origin) setting.alpha.reset();  // an earlier result
        if (setting.mode == SteeringMode::kClamp)
            throw UsageError("--steer " + setting.file + ": mode clamp has no alpha to calibrate");
        if (setting.alpha)
            throw UsageError("--steer " + setting.file + ": calibrate finds alpha; leave it out");
    }
    return settings;
}

/// A given number of pairs is kept; otherwise it grows with the noise of the clips.
CalibrationOptions search_options(const CalibrateFlags& options) {
    CalibrationOptions search = options.search;
    search.tolerance = options.tolerance_points / 100.0;
    search.max_pairs = options.max_pairs.value_or(search.max_pairs);
    search.max_check_pairs = options.check_pairs.value_or(search.max_pairs);
    search.check_pairs = std::min(options.check_pairs.value_or(search.check_pairs), search.max_check_pairs);
    search.max_pairs = options.pairs.value_or(search.max_pairs);
    search.pairs = std::min(options.pairs.value_or(search.pairs), search.max_pairs);
    return search;
}

/// @param own_measures  of --measure-command
CalibrationSetup make_setup(const CalibrateFlags& options, const std::vector<std::string>& own_measures) {
    options.sampling.validate();
    if (options.memory > 0 && options.sampling.batch_size > 0)
        throw UsageError("--memory has no effect beside --batch-size: it chooses one");
    if (options.force && options.out.empty()) throw UsageError("--force has no effect without --out");
    if (options.pairs && options.check_pairs && options.max_pairs)
        throw UsageError("--max-pairs has no effect beside --pairs and --check-pairs");
    CalibrationSetup setup;
    std::set<std::string> measures;
    setup.measure_command = options.measure_command;
    for (const std::string& text : options.targets) {
        setup.targets.push_back(MeasureTarget::parse(text, own_measures));
        if (!measures.insert(setup.targets.back().measure).second)
            throw UsageError("two targets for " + short_measure_name(setup.targets.back().measure) +
                             ": each measure can have only one target");
    }
    if (!options.tempo_prior.empty() && !measures.contains("tempo_bpm"))
        throw UsageError("--tempo-prior has no effect without a target for tempo");
    split_prompts(distinct(collect_prompts({options.prompts, options.prompts_file, options.limit})), setup);
    setup.options = search_options(options);
    setup.options.validate();
    setup.first_seed = options.seed;
    if (options.seed >
        std::numeric_limits<std::uint64_t>::max() - setup.options.max_pairs - setup.options.max_check_pairs)
        throw UsageError("--seed " + std::to_string(options.seed) + ": no seeds follow it");
    setup.negative_prompt = options.negative_prompt;
    if (!options.tempo_prior.empty()) setup.tempo_prior = TempoPrior::parse(options.tempo_prior);
    return setup;
}

std::int64_t text_length(const Model& model, const CalibrationSetup& setup) {
    std::vector<SessionRequest> requests;
    for (const auto* prompts : {&setup.search_prompts, &setup.check_prompts}) {
        for (const std::string& prompt : *prompts) {
            SessionRequest& request = requests.emplace_back();
            request.prompt = prompt;
            request.negative_prompt = setup.negative_prompt;
        }
    }
    return text_length_for(model.tokenizer, requests);
}

/// Beside the output, as for extract.
std::filesystem::path progress_file(const std::filesystem::path& out) {
    return out.parent_path() / ("." + out.filename().string() + ".progress");
}

/// Everything that determines a clip's measurements, besides its strengths and pair.
nlohmann::json progress_identity(const CalibrationSetup& setup, const std::vector<AppliedVector>& vectors) {
    nlohmann::json steering = nlohmann::json::array();
    for (const AppliedVector& vector : vectors) {
        SteeringSetting setting = vector.resolved.setting;
        setting.alpha.reset();
        steering.push_back(setting_identity(setting));
    }
    nlohmann::json measures = nlohmann::json::array();
    for (const MeasureTarget& target : setup.targets) measures.push_back(target.measure);
    return {{"musicsteer", setup.clips.version},
            {"weights_sha256", setup.clips.weights_sha256},
            {"precision", setup.clips.precision},
            {"settings", settings_json(setup)},
            {"steering", std::move(steering)},
            {"measures", std::move(measures)},
            {"search_prompts", setup.search_prompts},
            {"check_prompts", setup.check_prompts},
            {"first_seed", setup.first_seed},
            {"first_check_pair", setup.options.max_pairs},
            {"grids", grids_json(SoundGrids::of(setup.clips.sample_rate_hz))}};
}

Calibration search(const CalibrateFlags& options, const Model& model, CalibrationSetup& setup,
                   const std::vector<AppliedVector>& vectors, const Melody& melody, MeasureCommand* command,
                   const std::stop_token& stop) {
    const Manifest& manifest = model.manifest();
    ClipRunOptions clips;
    clips.num_frames = manifest.frames_of(options.sampling.duration_s);
    clips.sampling = options.sampling.resolve(manifest);
    clips.melody = melody;
    clips.on_non_finite = NonFinitePolicy::kDropRequest;
    clips.batch_size = options.sampling.batch_size;
    clips.memory = options.memory;
    clips.scored = ScoredClips::kSteered;
    clips.on_warning = log_warn;
    clips.stop = stop;
    ClipObserver observer(model, setup, vectors, std::move(clips), text_length(model, setup), command);
    setup.clips.batch_size = observer.batch_size();
    std::optional<ClipLog> log;
    if (!options.out.empty()) {
        log.emplace(progress_file(options.out), progress_identity(setup, vectors));
        if (log->size() > 0) log_info("resuming: " + std::to_string(log->size()) + " clips are done");
        observer.keep_in(*log);
    }
    CalibrationOptions watched = setup.options;
    watched.on_step = [&](const CalibrationStep& step) {
        observer.expect(step.expected_clips);
        const std::optional<double> left = observer.seconds_left();
        log_info(step_text(step, setup.targets) +
                 (left && step.stage != "check" ? "; about " + format_duration(*left) + " left" : ""));
    };
    Calibration found = calibrate(setup.targets, watched, [&](const auto& strengths, PairRange pairs) {
        return observer(strengths, pairs);
    });
    if (log) log->remove();
    return found;
}

void run(const CalibrateFlags& options, const Context& context) {
    apply_log_level(options.model.log_level);
    const std::unique_ptr<MeasureCommand> command = start_measure_command(options.measure_command);
    CalibrationSetup setup = make_setup(options, command ? command->names() : std::vector<std::string>());
    std::vector<AppliedVector> vectors = load_vectors(steer_settings(options));
    const Overwrite overwrite = options.force ? Overwrite::kAllow : Overwrite::kRefuse;
    std::vector<std::string> inputs = vector_files(vectors);
    inputs.insert(inputs.end(), {options.prompts_file, options.melody});
    if (!options.out.empty()) check_writable(options.out, overwrite, inputs);
    std::optional<OutputLock> lock;
    if (!options.out.empty()) lock.emplace(options.out);
    Bundle bundle = open_bundle(options.model);
    resolve_vectors(vectors, bundle.manifest(), log_warn);
    const Melody melody = hear_melody(options.melody, bundle.manifest(), options.sampling.duration_s);
    const Model model = load_model(options.model, std::move(bundle));
    setup.clips = ClipSettings::of(model.manifest(), options.sampling.duration_s,
                                   options.sampling.resolve(model.manifest()));
    check_negative_prompt(options.negative_prompt, setup.clips.sampling);
    warn_of_unknown(model.tokenizer, setup.search_prompts, setup.negative_prompt);
    setup.clips.threads = at::get_num_threads();
    setup.clips.device = options.model.device;
    setup.clips.melody_sha256 = melody.sha256;
    const Calibration found = [&] {
        try {
            return search(options, model, setup, vectors, melody, command.get(), context.stop);
        } catch (const Interrupted&) {
            throw Interrupted(options.out.empty() ? "interrupted; with --out it could have been resumed"
                                                  : "interrupted; the same command resumes it");
        }
    }();

    std::optional<std::string> written;
    if (found.met && !options.out.empty()) {
        calibration_file(found, setup, vectors).save(options.out, overwrite);
        written = options.out;
    }
    if (options.json) {
        std::cout << calibration_json(found, setup, vectors, written).dump(2) << '\n';
    } else {
        print_calibration(std::cout, found, setup, vectors);
        if (written) std::cout << *written << '\n';
    }
    std::cout.flush();
    if (const std::string warning = calibration_warning(found, setup); !warning.empty()) log_warn(warning);
    if (!found.met) throw Error(calibration_failure(found, setup));
}

void add_search_options(CLI::App& command, CalibrateFlags& options) {
    command.add_option("--pairs", options.pairs,
                       "Pairs of clips at each strength of the search [48, and more where they are noisy]");
    command.add_option("--check-pairs", options.check_pairs,
                       "Held-out pairs of clips of the check [96, and as many as the search needed]");
    command.add_option("--max-pairs", options.max_pairs,
                       "Most pairs of search and check, if their number is not given [" +
                           std::to_string(options.search.max_pairs) + "]");
    command
        .add_option("--max-kl", options.search.max_kl_nats,
                    "Cap on the cost: KL from the unsteered model's predictions, in nats a code")
        ->capture_default_str();
    command
        .add_option("--tolerance", options.tolerance_points,
                    "How far off a target may be, in percent of the unsteered mean\n"
                    "(for loudness and peak, 5 means 1 dB)")
        ->capture_default_str();
}

}  // namespace

void add_calibrate(CLI::App& app, Context& context) {
    const auto options = std::make_shared<CalibrateFlags>();
    CLI::App* command = app.add_subcommand(
        "calibrate",
        "Find the strength that changes a measure as far as you ask, and write it as a steering file");
    command->footer(kCalibrateFooter);
    add_model_options(*command, options->model);
    command
        ->add_option("--target", options->targets,
                     "What to reach: tempo=+20% or tempo=120. One for each --steer, in the same order")
        ->allow_extra_args(false)
        ->required()
        ->type_name("MEASURE=CHANGE");
    command->add_option("-p,--prompt", options->prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command->add_option("--prompts", options->prompts_file,
                        "Prompts from a file, JSON or one per line, or by name: neutral");
    command->add_option("--limit", options->limit, "Use only the first N prompts of the file")
        ->check(whole_number(1));
    command->add_option("--negative-prompt", options->negative_prompt,
                        "Prompt that guidance moves away from, instead of the null prompt");
    add_melody_flag(*command, options->melody);
    command->add_option("--seed", options->seed, "Seed of the first pair of clips; the others follow")
        ->check(whole_number())
        ->capture_default_str();
    add_search_options(*command, *options);
    add_tempo_prior(*command, options->tempo_prior);
    add_measure_command(*command, options->measure_command);
    command->add_option("-o,--out", options->out, "Steering file to write [none: only report]");
    command->add_flag("--force", options->force, "Replace a steering file that exists");
    command->add_flag("--json", options->json, "Print all results as JSON");
    add_sampling_flags(*command, options->sampling);
    command->get_option("--batch-size")
        ->description(
            "Clips computed together; part of what determines the last bits [by --memory, at most 16]");
    command
        ->add_option("--memory", options->memory,
                     "Memory for batches, such as 4GB [half of what is free beside the model]")
        ->transform(CLI::AsSizeValue(true));
    add_steer_flags(*command, options->steering, {"alpha"});
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
