#include <ATen/ATen.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
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
#include "generation/clip_stream.hpp"
#include "generation/continuation.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"
#include "model/melody.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "steer_options.hpp"
#include "steering/applied_vector.hpp"
#include "steering/sections.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kGenerateExample = R"(
Examples:
  musicsteer generate --model bundle --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer generate --model bundle --prompts-file prompts/neutral.json --seed 0:4 \
      --steer tempo.safetensors:alpha=1:layers=2-5 --steer brightness.safetensors:alpha=-0.5 --out clips
  musicsteer generate --model melody-bundle --prompt "piano music" --melody tune.flac --out piano.wav
  musicsteer generate --model bundle --prompt "piano music" --steer faster.json --out fast.wav
  musicsteer generate --model bundle --prompt "organ music" --steer fast.steering.json --out fast-organ.wav
  musicsteer generate --model bundle --prompt "piano music" --continue take.wav --continue-from 4s \
      --duration 20 --out longer.wav
  musicsteer generate --model bundle --prompt "piano music" --duration 120 --out - | ffplay -)";

struct GenerateFlags {
    ModelOptions model;
    ClipFlags clips;
    SamplingFlags sampling;
    SteerFlags steering;
    FinishFlags finish;
    std::string continued;
    std::string continued_from;
    std::optional<double> stride_s;
    std::string melody;
    std::string out;
    std::string format = "pcm16";
    std::string save_codes;
    bool score = false;
    bool force = false;
    bool json = false;
    bool keep_partial = false;

    bool to_stdout() const { return out == "-"; }
};

/// Refuses what a stream has no place for. @throws UsageError
void check_stream(const GenerateFlags& options, std::size_t clips) {
    const std::pair<const char*, bool> refused[] = {
        {"several clips", clips > 1},
        {"--json, as a clip's record is not printed", options.json},
        {"--score, which goes to a clip's record", options.score},
        {"--keep-partial, as what is finished is written at once", options.keep_partial},
    };
    for (const auto& [what, given] : refused)
        if (given) throw UsageError(std::string("--out - does not go with ") + what);
    if (isatty(STDOUT_FILENO))
        throw UsageError(
            "--out - writes a WAV to stdout, which is a terminal: pipe it, as in ... | ffplay -");
    std::signal(SIGPIPE, SIG_IGN);  // write() says it
}

/// Whoever read stdout has stopped reading: nothing is wrong, and nothing is left to do.
class ReaderGone : public Interrupted {
  public:
    ReaderGone() : Interrupted("nobody reads stdout any more") {}
};

/// @throws ReaderGone, OutputError
void write_stdout(std::span<const char> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = write(STDOUT_FILENO, bytes.data(), bytes.size());
        if (count >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        } else if (errno == EPIPE) {
            throw ReaderGone();
        } else if (errno != EINTR) {
            throw OutputError(std::string("standard output could not be written: ") + std::strerror(errno));
        }
    }
}

ClipSettings clip_settings(const GenerateFlags& options, const Manifest& manifest,
                           const SamplingOptions& sampling, const ExecutionShape& shape) {
    ClipSettings settings = ClipSettings::of(manifest, options.sampling.duration_s, sampling);
    settings.sample_format = options.format;
    settings.batch_size = shape.batch_size;
    settings.threads = shape.threads;
    settings.device = options.model.device;
    if (settings.windows) settings.windows = WindowShape::of(manifest, options.stride_s);
    return settings;
}

/// @throws UsageError for a stride that does nothing
WindowShape windows_for(const GenerateFlags& options, const Manifest& manifest) {
    const WindowShape windows = WindowShape::of(manifest, options.stride_s);
    if (options.stride_s && manifest.frames_of(options.sampling.duration_s) <= windows.length) {
        throw UsageError("--stride has no effect: the clip fits the model's window of " +
                         to_text(static_cast<double>(windows.length) / manifest.codec.frame_rate_hz) + " s");
    }
    return windows;
}

ClipSpec clip_spec(const SessionRequest& request, std::int64_t text_length,
                   const std::vector<SteeringSetting>& steering, const std::optional<Melody>& melody) {
    ClipSpec clip;
    if (!request.unconditional) clip.prompt = request.prompt;
    clip.negative_prompt = request.negative_prompt;
    clip.seed = request.seed;
    clip.text_length = text_length;
    if (melody) clip.melody_sha256 = melody->sha256;
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
std::vector<std::string> inputs_of(const GenerateFlags& options, const std::vector<AppliedVector>& vectors,
                                   const std::vector<AppliedSection>& sections) {
    std::vector<AppliedVector> all = vectors;
    for (const AppliedSection& section : sections)
        all.insert(all.end(), section.vectors.begin(), section.vectors.end());
    std::vector<std::string> inputs = vector_files(all);
    inputs.push_back(options.clips.prompts_file);
    inputs.push_back(options.continued);
    inputs.push_back(options.melody);
    for (const AppliedVector& vector : all) {
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

/// @throws UsageError for prompts of unconditional clips; warns of sections that nobody will hear
void check_sections(const std::vector<SteeringSection>& sections, const GenerateFlags& options) {
    for (const SteeringSection& section : sections) {
        if (section.prompt && options.clips.unconditional)
            throw UsageError("--unconditional: the section at " + to_text(section.at_s) + " s has a prompt");
        if (section.at_s >= options.sampling.duration_s)
            log_warn("the section at " + to_text(section.at_s) + " s begins after the clip's end");
    }
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
    if (options.to_stdout()) check_stream(options, requests.size());
    const SectionedSteering typed = options.steering.with_sections(options.model.model);
    std::vector<AppliedVector> vectors = load_vectors(typed.settings);
    std::vector<AppliedSection> sections = load_sections(typed.sections);
    std::optional<Continuation> continued = Continuation::open(options.continued, options.continued_from);
    const std::vector<std::string> inputs = inputs_of(options, vectors, sections);
    const bool with_baseline = options.clips.with_baseline;
    if (with_baseline && vectors.empty() && sections.empty())
        throw UsageError("--with-baseline: nothing steers these clips; give --steer");
    std::optional<ClipFiles> files;
    if (!options.to_stdout()) {
        files.emplace(options.out, requests, with_baseline, options.force, inputs, strength_of(vectors));
        check_encoding(files->wav(0), format);
    }
    if (!options.save_codes.empty()) {
        if (files && files->holds(options.save_codes))
            throw UsageError("--save-codes " + options.save_codes + ": is also one of the clips' files");
        check_writable(options.save_codes, overwrite, inputs);
    }

    Bundle bundle = open_bundle(options.model);
    const Manifest& manifest = bundle.manifest();
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(options.sampling.duration_s);
    run.windows = windows_for(options, manifest);
    run.keep_partial = options.keep_partial;
    run.sampling = options.sampling.resolve(manifest);
    run.batch_size = options.sampling.batch_size;
    run.scored = options.score ? ScoredClips::kAll : ScoredClips::kNone;
    run.on_warning = log_warn;
    run.stop = context.stop;
    run.validate(manifest);
    check_negative_prompt(options.clips.negative_prompt, run.sampling);
    resolve_vectors(vectors, manifest, log_warn);
    resolve_sections(sections, manifest, log_warn);
    if (continued) {
        continued->cut(manifest, run.num_frames, requests.size(), log_warn);
        run.given_columns = kPrefillChunk;
    }
    const SteeringPlan plan = combined_plan(vectors);
    std::vector<SteeringSetting> steering;
    for (const AppliedVector& vector : vectors) steering.push_back(vector.resolved.setting);
    std::vector<SteeringSection> written_sections;
    for (const AppliedSection& section : sections) written_sections.push_back(section.section);
    check_sections(written_sections, options);
    const std::vector<RequestSection> run_sections = request_sections(sections, manifest);
    const auto is_baseline = [&](std::size_t index) { return with_baseline && index % 2 == 1; };
    std::optional<Melody> melody;
    if (!options.melody.empty()) melody = hear_melody(options.melody, manifest);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        if (!is_baseline(i)) requests[i].steering = plan;
        requests[i].sections = is_baseline(i) ? without_steering(run_sections) : run_sections;
        if (melody) requests[i].melody = melody->chroma;
    }

    const Model model = load_model(options.model, std::move(bundle));
    if (continued) continued->give_to(requests, model);
    warn_of_unknown(model.tokenizer, prompts_of(requests));
    const std::size_t total = requests.size();
    Progress progress("generating");
    run.on_progress = [&](double clips) {
        progress.update_units(clips, static_cast<std::int64_t>(total), total > 1 ? "clips" : "clip");
    };
    std::optional<ClipStream> stream;
    if (options.to_stdout()) {
        run.on_session = [&, num_frames = run.num_frames](GenerationSession& session, std::size_t,
                                                          std::size_t) {
            stream.emplace(model, num_frames, format, write_stdout);
            stream->listen_to(session);
        };
    }
    const SamplingOptions sampling = run.sampling;
    const ClipRunner runner(model, std::move(run), total, text_length_for(model.tokenizer, requests));
    const ClipSettings settings = clip_settings(options, model.manifest(), sampling, runner.shape());
    const auto record_of = [&](std::size_t index) {
        ClipSpec spec = clip_spec(requests[index], runner.shape().text_length,
                                  is_baseline(index) ? std::vector<SteeringSetting>{} : steering, melody);
        spec.sections = is_baseline(index) ? without_steering(written_sections) : written_sections;
        if (continued) spec.continued = continued->record();
        return clip_record(settings, spec);
    };
    const auto common_settings = [&] {
        nlohmann::json record = record_of(0);
        for (const char* key : {"id", "prompt", "negative_prompt", "seed"}) record.erase(key);
        if (with_baseline) {
            record.erase("steering");
            record.erase("sections");
        }
        return record;
    };
    std::vector<at::Tensor> codes;
    const auto save = [&](const FinishedBatch& batch) {
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const std::size_t index = batch.first + i;
            if (!options.save_codes.empty()) codes.push_back(batch.clips[i].codes);
            if (!files) continue;  // it has been heard
            const std::filesystem::path file = files->wav(index);
            const FinishedAudio finished = finish_audio(batch.audio(i), finish);
            const Audio& audio = finished.audio;
            write_audio(file, audio, format, overwrite);
            if (index == 0) files->steering(settings, steering, written_sections);
            nlohmann::json record = record_of(index);
            record["file"] = file.filename().string();
            record["clipped_samples"] = count_full_scale_samples(as_written(audio, format));
            report_finish(file, finish, finished, record);
            if (const auto& score = batch.clips[i].score) {
                record["kl_nats"] = score->kl_nats;
                record["unsteered_nll_nats"] = score->nll_nats;
            }
            if (batch.is_partial) record["partial_frames"] = batch.clips[i].codes.size(1);
            files->record(index, record.dump());
            print_clip(options, file, record);
        }
    };
    try {
        runner.run(requests, save);
    } catch (const ReaderGone&) {
        return;
    } catch (const Interrupted&) {
        // Codes of unequal length have no tensor.
        if (!codes.empty() && codes.front().sizes() == codes.back().sizes() && options.keep_partial)
            save_codes(options.save_codes, codes, common_settings(), overwrite);
        throw;
    }
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
    command->add_option("--melody", options->melody,
                        "Recording whose melody to follow, in any format that libsndfile reads; melody\n"
                        "checkpoints only. Sources are not separated: give the stem that carries the tune");
    command->add_option("--seed", options->clips.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->allow_extra_args(false);
    command->add_flag("--with-baseline", options->clips.with_baseline,
                      "Also write each clip without steering, as NAME-unsteered.wav");
    command
        ->add_option(
            "-o,--out", options->out,
            "WAV, FLAC, Ogg or MP3 file, by its extension (its record goes beside it as .json, its\n"
            "steering as .steering.json), or for several clips a folder of WAVs with clips.jsonl\n"
            "and steering.json; - writes one clip to stdout while it is made, as a WAV without a record")
        ->required();
    command->add_option("--format", options->format, "pcm16, pcm24 or float; of WAV and FLAC")
        ->capture_default_str();
    command->add_option("--save-codes", options->save_codes,
                        "Also write the codes: safetensors [clips, K, frames]");
    command->add_flag(
        "--score", options->score,
        "Also record what steering costs: KL divergence from the unsteered model, and how likely\n"
        "that finds the clip, in nats a code");
    command->add_option(
        "--continue", options->continued,
        "Begin with a recording, or with codes that --save-codes wrote, and go on from there;\n"
        "--duration counts from its start");
    command->add_option("--continue-from", options->continued_from, "Cut what is continued there: 4s")
        ->type_name("TIME");
    command->add_option(
        "--stride", options->stride_s,
        "Clips longer than the model's window are made in windows: seconds from the start of\n"
        "one to that of the next [18 of a window's 30]");
    command->add_flag("--keep-partial", options->keep_partial,
                      "On Ctrl-C, keep what is finished of the clips in the making; their records say so");
    command->add_flag("--force", options->force, "Replace files that exist");
    command->add_flag("--json", options->json, "Print each clip's record as JSON");
    add_finish_flags(*command, options->finish);
    add_sampling_flags(*command, options->sampling);
    add_steer_flags(*command, options->steering);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli
