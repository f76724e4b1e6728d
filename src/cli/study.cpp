#include "experiments/study/study.hpp"

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "experiments/measure_target.hpp"
#include "experiments/study/study_json.hpp"
#include "io/utf8_path.hpp"
#include "model/melody.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "steering/resolve.hpp"
#include "steering/steering_source.hpp"
#include "study_report.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kStudyExample = R"(
A study is four sweeps in folders of --out, which can be stopped and resumed like any sweep: layers, strategies and
strength on the first half of seeds and prompts, confirm on the other. Random vectors of the same norm have the same
choice of layer, strategy and rows as the vector. The result is "it steers" only if the effect on the held-out clips
is larger than that of one more random vector, at a level of 5 %. Then DIR/steering.json is written, for generate
--steer. Otherwise the result is "no setting steers ...", also with exit code 0. If clips could not be made, nothing
is judged, and the exit code is 1.

Example:
  musicsteer study --model bundle --steer brightness.safetensors --measure centroid \
      --prompts prompts/neutral.json --limit 16 --seeds 0:8 --out study/brightness)";

struct StudyFlags {
    ModelOptions model;
    SamplingFlags sampling;
    StudyRequest request;
    std::string steer;
    std::string seeds = "0:16";
    std::string out;
    std::string tempo_prior;
    std::string measure_command;
    bool no_audio = false;
    bool json = false;
};

/// Says once, after the first clips, how long the study will take at most.
class Forecast {
  public:
    explicit Forecast(std::int64_t max_clips) : max_clips_(max_clips) {}

    void look(const SweepProgress& now) {
        if (first_done_ < 0) first_done_ = now.clips_done;
        if (said_ || now.clips_done == first_done_) return;
        said_ = true;
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
        const double each_s = elapsed.count() / static_cast<double>(now.clips_done - first_done_);
        log_info("about " + format_duration(each_s * static_cast<double>(max_clips_ - first_done_)) +
                 " at most, estimated from the first " + std::to_string(now.clips_done - first_done_) +
                 " clips");
    }

  private:
    std::int64_t max_clips_;
    std::int64_t first_done_ = -1;  ///< of an earlier run
    bool said_ = false;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// The file of the vector alone: a study finds the settings. @throws UsageError if some are typed
std::string vector_of(const StudyFlags& flags) {
    const SteeringSetting typed = SteeringSetting::parse(flags.steer);
    if (typed.has_any())
        throw UsageError("--steer " + flags.steer +
                         ": a study finds the settings itself; give the vector alone");
    const std::vector<SteeringSetting> settings = expand_steering(typed, flags.model.model);
    if (settings.size() > 1)
        throw UsageError("--steer " + flags.steer + ": a study has one vector, and this file has " +
                         std::to_string(settings.size()));
    return settings.front().file;
}

/// @param own_measures  of --measure-command
StudyRequest request_of(const StudyFlags& flags, const std::vector<std::string>& own_measures) {
    flags.sampling.validate();
    StudyRequest request = flags.request;
    request.clips.measure_command = flags.measure_command;
    request.own_measures = own_measures;
    request.measure = parse_measure_name(request.measure, request.own_measures);
    request.vector = vector_of(flags);
    require_utf8_path(request.vector);
    require_utf8_path(flags.out);
    require_utf8_path(request.clips.melody);
    SweepRequest& clips = request.clips;
    clips.model = flags.model.model;
    clips.prompts = clips.collect_prompts();
    clips.prompts_file.clear();
    clips.limit = 0;
    request.seeds = parse_seeds(flags.seeds);
    clips.duration_s = flags.sampling.duration_s;
    clips.guidance_scale = flags.sampling.guidance;
    clips.top_k = flags.sampling.top_k;
    clips.top_p = flags.sampling.top_p;
    clips.temperature = flags.sampling.temperature;
    if (!flags.tempo_prior.empty()) clips.tempo_prior = flags.tempo_prior;
    clips.batch_size = flags.sampling.batch_size > 0 ? flags.sampling.batch_size : 16;
    if (flags.model.threads > 0) clips.threads = flags.model.threads;
    clips.device = flags.model.device;
    clips.audio = !flags.no_audio;
    request.validate();
    return request;
}

void say_size(const StudyRequest& request, std::int64_t max_clips) {
    const std::size_t pairs = held_out_pairs(request);
    const auto controls = static_cast<std::size_t>(request.controls);
    log_info("a study of at most " + std::to_string(max_clips) + " clips, each generated and scored");
    char text[16];
    std::snprintf(text, sizeof text, "%.2g", detectable_spread(pairs, held_out_units(request), controls));
    log_info("its level is 5 %; on " + std::to_string(pairs) + " held-out pairs of clips, an effect of " +
             text + " times the spread of single pairs is found 4 times in 5, half of that with " +
             std::to_string(4 * request.seeds.size()) + " seeds");
}

void run(const StudyFlags& flags, const Context& context) {
    apply_log_level(flags.model.log_level);
    const std::unique_ptr<MeasureCommand> command = start_measure_command(flags.measure_command);
    const StudyRequest request = request_of(flags, command ? command->names() : std::vector<std::string>());
    const VectorFile vectors = VectorFile::load(request.vector);
    Bundle bundle = open_bundle(flags.model);
    vectors.check_fits(bundle.manifest(), request.vector);
    SteeringSetting everywhere;
    everywhere.file = request.vector;
    const SteeringSetting resolved = resolve_steering(vectors, everywhere, bundle.manifest().decoder).setting;
    (void)hear_melody(request.clips.melody, bundle.manifest(), 0.0);  // refused before there is a folder
    claim_study_folder(request, bundle.manifest(), flags.out);
    const SamplingOptions sampling = sampling_of(request.clips, bundle.manifest());
    const std::int64_t max_clips =
        max_study_clips(request, std::ssize(resolved.layers->numbers), sampling.guided());
    say_size(request, max_clips);
    const Model model = load_model(flags.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, request.clips.prompts);

    StudyOptions options;
    options.measure_command = command.get();
    options.stop = context.stop;
    options.on_message = log_warn;
    options.on_note = log_info;
    Forecast forecast(max_clips);
    std::unique_ptr<Progress> progress;
    std::string shown;
    options.on_progress = [&](const std::string& stage, const SweepProgress& now) {
        if (!progress || stage != shown) progress = std::make_unique<Progress>(shown = stage);
        progress->update_units(now.clips_done_and_begun(), now.clips_total, "clips");
        forecast.look(now);
    };
    std::optional<Study> study;
    try {
        study = run_study(model, request, flags.out, options);
    } catch (const Interrupted&) {
        throw Interrupted("interrupted; the same command resumes it");
    }
    progress.reset();
    save_study(*study, flags.out);
    if (flags.json) {
        std::cout << study_json(*study).dump() << "\n";
    } else {
        print_study(std::cout, *study, flags.out);
    }
    std::cout.flush();
    if (study->end == StudyEnd::kClipsFailed) throw Error(study_sentence(*study));
}

void add_flags(CLI::App& command, StudyFlags& flags) {
    StudyRequest& request = flags.request;
    add_model_options(command, flags.model);
    command
        .add_option(
            "--steer", flags.steer,
            "Vector to study: its file, a steering file with one vector, or the name of a direction of\n"
            "the bundle; the study chooses layers, strategy and strength")
        ->required()
        ->type_name("FILE");
    command
        .add_option("--measure", request.measure,
                    "Measure that it should move: tempo, onsets, centroid, loudness, ... (see `musicsteer "
                    "calibrate`)")
        ->required();
    command.add_option("-p,--prompt", request.clips.prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command.add_option("--prompts", request.clips.prompts_file,
                       "Prompts from a file: JSON as prompts/neutral.json, or one per line");
    command.add_option("--limit", request.clips.limit, "Use only the first N prompts of the file")
        ->check(whole_number(1));
    add_melody_flag(command, request.clips.melody);
    command.add_option("--seeds", flags.seeds, "At least 8; the first half chooses, the other confirms")
        ->capture_default_str();
    command
        .add_option("--max-kl", request.max_kl_nats,
                    "Cap on the cost: KL from the unsteered model's predictions, in nats a code")
        ->capture_default_str();
    command.add_option("--controls", request.controls, "Random vectors to compare with")
        ->capture_default_str();
    add_sampling_flags(command, flags.sampling);
    command.get_option("--duration")->default_val(4.0);
    command.get_option("--batch-size")->description("Clips computed together [16]");
    add_tempo_prior(command, flags.tempo_prior);
    add_measure_command(command, flags.measure_command);
    command.add_flag("--no-audio", flags.no_audio, "Keep the records alone, no WAV files");
    command.add_flag("--json", flags.json, "Print study.json instead of tables");
    command.add_option("-o,--out", flags.out, "Folder of the study; an existing one is resumed")
        ->required()
        ->type_name("DIR");
}

}  // namespace

void add_study(CLI::App& app, Context& context) {
    const auto flags = std::make_shared<StudyFlags>();
    CLI::App* command = app.add_subcommand(
        "study", "Find out whether, where and how strongly a vector steers, compared with random vectors");
    command->footer(kStudyExample);
    add_flags(*command, *flags);
    command->callback([flags, &context] { context.action = [flags, &context] { run(*flags, context); }; });
}

}  // namespace musicsteer::cli
