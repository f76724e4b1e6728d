#include <algorithm>
#include <array>
#include <functional>
#include <iostream>
#include <memory>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "directions/extraction.hpp"
#include "extract_options.hpp"
#include "generation/generation_session.hpp"
#include "inspection/vector_table.hpp"
#include "io/atomic_file.hpp"
#include "io/output_lock.hpp"
#include "musicsteer/errors.hpp"
#include "program/installation.hpp"
#include "progress.hpp"
#include "prompts/prompt_choice.hpp"
#include "recordings/like_extraction.hpp"
#include "recordings/recording_extraction.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kExtractExample = R"(
Examples:
  musicsteer extract --model bundle --prompts prompts/tempo.json --out tempo.safetensors
  musicsteer extract --model bundle --prompts prompts/tempo.json --limit 25 --save-activations a.safetensors \
      --out tempo.safetensors
  musicsteer extract --from-activations a.safetensors --method logistic --out probe.safetensors
  musicsteer extract --model bundle --positive fast.txt --negative slow.txt --out tempo.safetensors
  musicsteer extract --model bundle --positive-audio fast/ --negative-audio slow/ --out recorded.safetensors
  musicsteer extract --model bundle --like mine/ --prompts piano.txt --out mine.safetensors
  musicsteer extract --model bundle --audio songs/ --value tempo --method ridge --out ridge.safetensors)";

std::filesystem::path progress_file_of(const std::string& out) {
    const std::filesystem::path path(out);
    return path.parent_path() / ("." + path.filename().string() + ".progress");
}

/// Checks that do not need the weights.
PoolingOptions pooling_options(const ExtractOptions& options, const Manifest& manifest) {
    PoolingOptions pooling;
    pooling.points = options.points(manifest.decoder.num_layers);
    SessionOptions session;
    session.num_frames = manifest.frames_of(options.sampling.duration_s);
    session.validate(manifest);
    parse_positions(options.positions, session.num_frames, manifest.codec.frame_rate_hz);
    pooling.melody = hear_melody(options.melody, manifest, options.sampling.duration_s);
    pooling.sampling = options.sampling.resolve(manifest);
    pooling.duration_s = options.sampling.duration_s;
    pooling.positions = options.positions;
    pooling.rows = parse_recorded_rows(options.rows);
    return pooling;
}

ResumeOptions resume_options(const ExtractOptions& options) {
    return {progress_file_of(options.out), options.overwrite(), options.model.device, log_info, log_warn};
}

/// Says from where an interrupted extraction resumes.
ActivationFile resumable(const ResumeOptions& options, const std::function<ActivationFile()>& record) {
    try {
        return record();
    } catch (const Interrupted&) {
        const bool kept = std::filesystem::exists(options.progress_file);
        throw Interrupted(kept
                              ? "interrupted; the same command resumes from " + options.progress_file.string()
                              : "interrupted");
    }
}

ActivationFile record_prompts(const ExtractOptions& options, const Context& context) {
    PromptSet prompts = options.prompts.empty() ? PromptSet::of_files(options.positive, options.negative)
                                                : PromptSet::load(options.prompts);
    if (!options.concept_name.empty()) prompts.concept_name = options.concept_name;
    check_usable(options.resolved_method(), prompts, options.limit);
    Bundle bundle = open_bundle(options.model);
    ExtractionOptions extraction;
    static_cast<PoolingOptions&>(extraction) = pooling_options(options, bundle.manifest());
    static_cast<ResumeOptions&>(extraction) = resume_options(options);
    extraction.seed = options.seed;
    extraction.limit = options.limit;
    extraction.batch_size = options.sampling.batch_size;
    extraction.stop = context.stop;

    const Model model = load_model(options.model, std::move(bundle));
    std::vector<std::string> texts;
    for (const PromptSide* side : {&prompts.positive, &prompts.negative})
        for (const Prompt& prompt : side->prompts) texts.push_back(prompt.text);
    warn_of_unknown(model.tokenizer, texts);
    Progress progress("extracting " + prompts.concept_name);
    extraction.on_progress = [&](double done, std::int64_t total) {
        progress.update_units(done, total, "prompts");
    };
    return resumable(extraction, [&] { return record_activations(model, prompts, extraction); });
}

RecordingSides load_sides(const ExtractOptions& options, const Manifest& manifest) {
    RecordingOptions loading;
    loading.duration_s = options.sampling.duration_s;
    loading.positions = options.positions;
    if (!options.value.empty()) loading.value = parse_recording_value(options.value);
    if (!options.tempo_prior.empty()) loading.tempo_prior = TempoPrior::parse(options.tempo_prior);
    loading.on_skip = log_warn;
    RecordingSides sides;
    if (!options.like.empty()) {
        sides = sides_like(load_recordings(options.like, manifest, loading), options.like);
    } else if (!options.audio.empty()) {
        sides =
            sides_by_value(load_recordings(options.audio, manifest, loading), options.audio, loading.value);
    } else {
        RecordingFolder positive = load_recordings(options.positive_audio, manifest, loading);
        RecordingFolder negative = load_recordings(options.negative_audio, manifest, loading);
        sides = sides_of(std::move(positive), std::move(negative), options.positive_audio,
                         options.negative_audio, loading.value);
    }
    if (!options.concept_name.empty()) sides.concept_name = options.concept_name;
    if (sides.skipped > 0) {
        log_warn(counted(sides.skipped, "file") + " skipped, " +
                 counted(sides.positive.size() + sides.negative.size(), "recording") + " used");
    }
    return sides;
}

HearingOptions hearing_options(const ExtractOptions& options, const Manifest& manifest,
                               const Context& context) {
    HearingOptions hearing;
    static_cast<PoolingOptions&>(hearing) = pooling_options(options, manifest);
    hearing.caption = options.caption;
    hearing.stop = context.stop;
    hearing.validate();
    const MethodOptions method = options.resolved_method();
    if (method.method == DirectionMethod::kRidge && options.value.empty())
        throw UsageError("--method ridge needs --value tempo or --value centroid on recordings");
    if (method.method == DirectionMethod::kPca || method.method == DirectionMethod::kPcaCenter)
        throw UsageError("--method " + options.method + " needs paired prompts: recordings have no pairs");
    return hearing;
}

ActivationFile record_audio(const ExtractOptions& options, const Context& context) {
    Bundle bundle = open_bundle(options.model);
    RecordingExtractionOptions extraction{hearing_options(options, bundle.manifest(), context), {}};
    const RecordingSides sides = load_sides(options, bundle.manifest());

    const Model model = load_model(options.model, std::move(bundle));
    Progress progress("listening to recordings");
    extraction.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    return record_recordings(model, sides, extraction);
}

/// Recordings against clips that the model plays by itself.
ActivationFile record_likeness(const ExtractOptions& options, const Context& context) {
    Bundle bundle = open_bundle(options.model);
    LikeExtractionOptions extraction;
    static_cast<HearingOptions&>(extraction) = hearing_options(options, bundle.manifest(), context);
    static_cast<ResumeOptions&>(extraction) = resume_options(options);
    const std::string prompts = options.prompts.empty() ? find_prompt_set("neutral") : options.prompts;
    extraction.prompts = collect_prompts({{}, prompts, options.limit});
    extraction.seed = options.seed;
    extraction.batch_size = options.sampling.batch_size;
    const RecordingSides sides = load_sides(options, bundle.manifest());

    const Model model = load_model(options.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, extraction.prompts);
    Progress progress("generating the contrast of " + sides.concept_name);
    extraction.on_progress = [&](double done, std::int64_t total) {
        progress.update_units(done, total, "clips");
    };
    return resumable(extraction, [&] { return record_like(model, sides, extraction); });
}

ActivationFile load_activations(const std::string& path) {
    ActivationFile activations = ActivationFile::load(path);
    if (!activations.unfinished.empty()) {
        throw InputError(path + ": belongs to a stopped extraction; run its command again to finish it");
    }
    return activations;
}

ActivationFile activations_of(const ExtractOptions& options, const Context& context) {
    if (!options.from_activations.empty()) return load_activations(options.from_activations);
    options.sampling.validate();
    if (!options.like.empty()) return record_likeness(options, context);
    return options.from_recordings() ? record_audio(options, context) : record_prompts(options, context);
}

VectorFile find_directions(const ActivationFile& activations, const ExtractOptions& options,
                           const Context& context) {
    set_num_threads(1);  // small problems, and the result must not depend on --threads
    Progress progress("finding directions");
    return compute_directions(
        activations, options.resolved_method(),
        [&](std::int64_t done, std::int64_t total) { progress.update(done, total); }, context.stop);
}

void run(const ExtractOptions& options, const Context& context, const CLI::App& command) {
    apply_log_level(options.model.log_level);
    check_extract_flags(options, command);
    const std::array inputs = {options.prompts, options.positive, options.negative, options.from_activations,
                               options.melody};
    check_writable(options.out, options.overwrite(), inputs);
    if (!options.save_activations.empty())
        check_writable(options.save_activations, options.overwrite(), inputs);

    const OutputLock lock(options.out);
    const ActivationFile activations = activations_of(options, context);
    const VectorFile vectors = find_directions(activations, options, context);
    if (std::all_of(vectors.stats.begin(), vectors.stats.end(),
                    [](const auto& point) { return point.second.norm == 0.0; })) {
        log_warn(
            "every direction is zero: the model did the same on both sides (are the texts the same?), so "
            "steering "
            "with them changes nothing");
    }
    if (!options.save_activations.empty()) activations.save(options.save_activations, options.overwrite());
    vectors.save(options.out, options.overwrite());
    if (options.from_prompts() || !options.like.empty())
        std::filesystem::remove(progress_file_of(options.out));
    inspection::print_vector_table(std::cout, vectors);
    std::cout << "wrote " << options.out << '\n';
}

}  // namespace

void add_extract(CLI::App& app, Context& context) {
    const auto options = std::make_shared<ExtractOptions>();
    CLI::App* command = app.add_subcommand(
        "extract", "Find a direction from two prompt sets, prompts with numbers, or recordings");
    command->footer(kExtractExample);
    add_extract_options(*command, *options);
    command->callback([options, &context, command] {
        context.action = [options, &context, command] { run(*options, context, *command); };
    });
}

}  // namespace musicsteer::cli
