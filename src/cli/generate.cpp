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
#include "directions/provenance.hpp"
#include "experiments/clip_record.hpp"
#include "generate_options.hpp"
#include "generation/clip_runner.hpp"
#include "generation/clip_stream.hpp"
#include "generation/continuation.hpp"
#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"
#include "model/melody.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "steering/applied_vector.hpp"
#include "steering/sections.hpp"
#include "steering/setting_json.hpp"

namespace musicsteer::cli {
namespace {

/// Refuses flags that do not work with a stream. @throws UsageError
void check_stream(const GenerateFlags& options, std::size_t clips) {
    const std::pair<const char*, bool> refused[] = {
        {"several clips", clips > 1},
        {"--json, because no record is printed", options.json},
        {"--score, because there is no record", options.score},
        {"--keep-partial, because finished audio is written at once", options.keep_partial},
    };
    for (const auto& [what, given] : refused)
        if (given) throw UsageError(std::string("--out - does not work with ") + what);
    if (isatty(STDOUT_FILENO))
        throw UsageError(
            "--out - writes a WAV to stdout, which is a terminal: pipe it, as in ... | ffplay -");
    std::signal(SIGPIPE, SIG_IGN);  // write() says it
}

/// The reader of stdout is gone. This is not an error, and nothing is left to do.
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

/// @throws UsageError for a stride without effect
WindowShape windows_for(const GenerateFlags& options, const Manifest& manifest) {
    const WindowShape windows = WindowShape::of(manifest, options.stride_s);
    if (options.stride_s && manifest.frames_of(options.sampling.duration_s) <= windows.length) {
        throw UsageError("--stride has no effect: the clip fits the model's window of " +
                         to_text(static_cast<double>(windows.length) / manifest.codec.frame_rate_hz) + " s");
    }
    return windows;
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

/// Input files, which must not be replaced.
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

/// Part of a file's name: "a0.2"; of several vectors "a0.2_-0.5"; "" without any.
std::string strength_of(const std::vector<AppliedVector>& vectors) {
    std::string text;
    for (const AppliedVector& vector : vectors)
        text += (text.empty() ? "a" : "_") + to_text(vector.setting.alpha.value_or(1.0));
    return text;
}

/// @throws UsageError for prompts of unconditional clips; warns of sections after the clip's end
void check_sections(const std::vector<SteeringSection>& sections, const GenerateFlags& options) {
    for (const SteeringSection& section : sections) {
        if (section.prompt && options.clips.unconditional)
            throw UsageError("--unconditional: the section at " + to_text(section.at_s) + " s has a prompt");
        if (section.at_s >= options.sampling.duration_s)
            log_warn("the section at " + to_text(section.at_s) + " s begins after the clip's end");
    }
}

/// One call of generate: its options and its outputs.
class GenerateRun {
  public:
    /// Reads and checks everything that needs no model. @throws UsageError, InputError, OutputError
    explicit GenerateRun(const GenerateFlags& options);

    void run(const Context& context);

  private:
    bool is_baseline(std::size_t index) const { return options_.clips.with_baseline && index % 2 == 1; }
    void check_outputs();
    ClipRunOptions run_options(const Manifest& manifest);
    void steer(const Manifest& manifest);
    nlohmann::json record_of(std::size_t index) const;
    nlohmann::json common_settings() const;
    void save_clip(const FinishedBatch& batch, std::size_t i);
    void save_all_codes() const;

    const GenerateFlags& options_;
    SampleFormat format_;
    AudioFinish finish_;
    Overwrite overwrite_;
    std::vector<SessionRequest> requests_;
    std::vector<AppliedVector> vectors_;
    std::vector<AppliedSection> sections_;
    std::optional<Continuation> continued_;
    std::optional<ClipFiles> files_;  ///< none: to stdout
    // With the model:
    ClipSettings settings_;
    std::int64_t text_length_ = 0;
    std::vector<SteeringSetting> steering_;
    std::vector<SteeringSection> written_sections_;
    std::vector<at::Tensor> codes_;
};

GenerateRun::GenerateRun(const GenerateFlags& options)
    : options_(options),
      format_(parse_sample_format(options.format)),
      finish_(options.finish.finish()),
      overwrite_(options.force ? Overwrite::kAllow : Overwrite::kRefuse) {
    options.sampling.validate();
    if (options.to_stdout() && !finish_.changes_nothing())
        throw UsageError("--rate, --loudness and --fade need the whole clip and do not work with --out -");
    requests_ = expand_clips(options.clips);
    if (options.to_stdout()) check_stream(options, requests_.size());
    const SectionedSteering typed = options.steering.with_sections(options.model.model);
    vectors_ = load_vectors(typed.settings);
    sections_ = load_sections(typed.sections);
    continued_ = Continuation::open(options.continued, options.continued_from);
    if (options.clips.with_baseline && vectors_.empty() && sections_.empty())
        throw UsageError("--with-baseline: nothing steers these clips; give --steer");
    if (options.score && vectors_.empty() && sections_.empty())
        throw UsageError("--score: nothing steers these clips, so it costs nothing; give --steer");
    check_outputs();
}

void GenerateRun::check_outputs() {
    const std::vector<std::string> inputs = inputs_of(options_, vectors_, sections_);
    if (!options_.to_stdout()) {
        files_.emplace(options_.out, requests_, options_.clips.with_baseline, options_.force, inputs,
                       strength_of(vectors_));
        check_encoding(files_->wav(0), format_);
    }
    if (options_.save_codes.empty()) return;
    if (files_ && files_->holds(options_.save_codes))
        throw UsageError("--save-codes " + options_.save_codes + ": is also one of the clips' files");
    check_writable(options_.save_codes, overwrite_, inputs);
}

ClipRunOptions GenerateRun::run_options(const Manifest& manifest) {
    ClipRunOptions run;
    run.num_frames = manifest.frames_of(options_.sampling.duration_s);
    run.windows = windows_for(options_, manifest);
    run.melody = hear_melody(options_.melody, manifest, options_.sampling.duration_s);
    run.run_forced_windows = false;  // nobody looks at what is given
    run.keep_partial = options_.keep_partial;
    run.sampling = options_.sampling.resolve(manifest);
    run.batch_size = options_.sampling.batch_size;
    run.scored = options_.score ? ScoredClips::kAll : ScoredClips::kNone;
    run.on_warning = log_warn;
    run.validate(manifest);
    check_negative_prompt(options_.clips.negative_prompt, run.sampling);
    if (continued_) {
        continued_->cut(manifest, run.num_frames, requests_.size(), log_warn);
        run.forced_columns = kPrefillChunk;
    }
    return run;
}

/// Gives every request its steering and sections.
void GenerateRun::steer(const Manifest& manifest) {
    resolve_vectors(vectors_, manifest, log_warn);
    resolve_sections(sections_, manifest, log_warn);
    for (const AppliedVector& vector : vectors_) steering_.push_back(vector.resolved.setting);
    for (const AppliedSection& section : sections_) written_sections_.push_back(section.section);
    check_sections(written_sections_, options_);
    const SteeringPlan plan = combined_plan(vectors_);
    const std::vector<RequestSection> sections = request_sections(sections_, manifest);
    for (std::size_t i = 0; i < requests_.size(); ++i) {
        if (!is_baseline(i)) requests_[i].steering = plan;
        requests_[i].sections = is_baseline(i) ? without_steering(sections) : sections;
    }
}

nlohmann::json GenerateRun::record_of(std::size_t index) const {
    const bool plain = is_baseline(index);
    ClipSpec spec =
        clip_spec(requests_[index], text_length_, plain ? std::vector<SteeringSetting>{} : steering_);
    spec.sections = plain ? without_steering(written_sections_) : written_sections_;
    if (continued_) spec.continued = continued_->record();
    return clip_record(settings_, spec);
}

/// What the records of all clips share.
nlohmann::json GenerateRun::common_settings() const {
    nlohmann::json record = record_of(0);
    for (const char* key : {"id", "prompt", "negative_prompt", "seed"}) record.erase(key);
    if (options_.clips.with_baseline) {
        record.erase("steering");
        record.erase("sections");
    }
    return record;
}

void GenerateRun::save_clip(const FinishedBatch& batch, std::size_t i) {
    const std::size_t index = batch.first + i;
    const auto& clip = batch.clips[i];
    if (!options_.save_codes.empty()) codes_.push_back(clip.codes);
    if (!files_) return;  // already streamed
    const std::filesystem::path file = files_->wav(index);
    const FinishedAudio finished = finish_audio(batch.audio(i), finish_);
    write_audio(file, finished.audio, format_, overwrite_);
    if (index == 0) files_->steering(settings_, steering_, written_sections_);
    nlohmann::json record = record_of(index);
    record["file"] = file.filename().string();
    record["clipped_samples"] = count_full_scale_samples(as_written(finished.audio, format_));
    report_finish(file, finish_, finished, record);
    if (clip.score) {
        record["kl_nats"] = clip.score->kl_nats;
        record["unsteered_nll_nats"] = clip.score->nll_nats;
    }
    if (batch.is_partial) record["partial_frames"] = clip.codes.size(1);
    files_->record(index, record.dump());
    print_clip(options_, file, record);
}

void GenerateRun::save_all_codes() const {
    if (!options_.save_codes.empty()) save_codes(options_.save_codes, codes_, common_settings(), overwrite_);
}

void GenerateRun::run(const Context& context) {
    Bundle bundle = open_bundle(options_.model);
    ClipRunOptions run = run_options(bundle.manifest());
    steer(bundle.manifest());
    const Model model = load_model(options_.model, std::move(bundle));
    if (continued_) continued_->give_to(requests_, model);
    warn_of_unknown(model.tokenizer, prompts_of(requests_), options_.clips.negative_prompt);

    const std::size_t total = requests_.size();
    Progress progress("generating");
    run.on_progress = [&](double clips) {
        progress.update_units(clips, static_cast<std::int64_t>(total), total > 1 ? "clips" : "clip");
    };
    run.stop = context.stop;
    std::optional<ClipStream> stream;
    if (options_.to_stdout()) {
        run.on_session = [&, num_frames = run.num_frames](GenerationSession& session, std::size_t,
                                                          std::size_t) {
            stream.emplace(model, num_frames, format_, write_stdout);
            stream->listen_to(session);
        };
    }
    const SamplingOptions sampling = run.sampling;
    const std::string melody_sha256 = run.melody.sha256;
    const ClipRunner runner(model, std::move(run), total, text_length_for(model.tokenizer, requests_));
    text_length_ = runner.shape().text_length;
    settings_ = clip_settings(options_, model.manifest(), sampling, runner.shape());
    settings_.melody_sha256 = melody_sha256;
    try {
        runner.run(requests_, [&](const FinishedBatch& batch) {
            for (std::size_t i = 0; i < batch.clips.size(); ++i) save_clip(batch, i);
        });
    } catch (const ReaderGone&) {
        return;
    } catch (const Interrupted&) {
        if (options_.keep_partial && !codes_.empty()) {
            const std::int64_t frames = codes_.front().size(1);  // codes of unequal length have no tensor
            const auto shorter =
                std::erase_if(codes_, [&](const at::Tensor& codes) { return codes.size(1) != frames; });
            if (shorter > 0)
                log_warn(options_.save_codes +
                         ": holds the codes of the finished clips only; others were cut off");
            save_all_codes();
        }
        throw;
    }
    save_all_codes();
}

}  // namespace

void add_generate(CLI::App& app, Context& context) {
    const auto options = std::make_shared<GenerateFlags>();
    CLI::App* command = app.add_subcommand("generate", "Generate music, steered or not, as audio files");
    add_generate_options(*command, *options);
    command->callback([options, &context] {
        context.action = [options, &context] {
            apply_log_level(options->model.log_level);
            GenerateRun(*options).run(context);
        };
    });
}

}  // namespace musicsteer::cli
