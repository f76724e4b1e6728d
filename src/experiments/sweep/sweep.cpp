#include "experiments/sweep/sweep.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "generation/clip_runner.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/metrics.hpp"
#include "steering/combination.hpp"
#include "steering/resolve.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr std::uint64_t kRecordBytes = 2'000;
constexpr std::uint64_t kWavHeaderBytes = 44;

/// Clips of the same text length, and so of the same shape.
struct Group {
    std::int64_t text_length = 0;
    std::vector<const SweepClip*> clips;
};

/// The missing clips.
std::vector<Group> groups_of(const std::vector<SweepClip>& clips,
                             const std::map<std::string, std::string>& records) {
    std::vector<Group> groups;
    for (const SweepClip* clip : in_run_order(clips)) {
        if (records.contains(clip->id)) continue;
        const std::int64_t length = clip->spec.text_length;
        if (groups.empty() || groups.back().text_length != length) groups.push_back({length, {}});
        groups.back().clips.push_back(clip);
    }
    return groups;
}

[[noreturn]] void throw_other_file(const std::string& file) {
    throw InputError(file + ": is not the file that the plan was made with (its SHA-256 differs)");
}

/// The plan's vector files, each read once and checked against its hash.
class VectorFiles {
  public:
    explicit VectorFiles(const Manifest& manifest) : manifest_(manifest) {}

    ResolvedSteering resolve(const SteeringSetting& setting) {
        std::optional<Gate> gate;
        if (setting.gate) {
            gate = setting.gate->with_direction(load(setting.gate->file, setting.gate->sha256),
                                                manifest_.decoder.num_layers);
        }
        const VectorFile& vectors = load(setting.file, setting.sha256);
        return resolve_steering(vectors, setting, manifest_.decoder, gate);
    }

  private:
    const VectorFile& load(const std::string& file, const std::string& sha256) {
        auto found = files_.find(file);
        if (found == files_.end()) {
            if (sha256_of_file(file) != sha256) throw_other_file(file);
            found = files_.emplace(file, VectorFile::load(file)).first;
            found->second.check_fits(manifest_, file);
        }
        return found->second;
    }

    const Manifest& manifest_;
    std::map<std::string, VectorFile> files_;
};

class Runner {
  public:
    Runner(const Model& model, SweepFolder& folder, const SweepOptions& options)
        : model_(model),
          folder_(folder),
          options_(options),
          settings_(folder.plan().settings),
          sample_format_(parse_sample_format(settings_.sample_format)),
          vectors_(model.manifest()),
          own_(options.measure_command) {
        outcome_.planned = std::ssize(folder.clips());
        outcome_.found = std::ssize(folder.records());
    }

    SweepOutcome run() {
        const std::vector<Group> groups = groups_of(folder_.clips(), folder_.records());
        if (!groups.empty()) prepare();
        std::vector<ClipRunner> runners;  // all at once: what does not fit into memory fails now
        for (const Group& group : groups)
            runners.emplace_back(model_, run_options(), group.clips.size(), group.text_length);
        try {
            for (std::size_t i = 0; i < groups.size(); ++i) run_group(groups[i], runners[i]);
        } catch (const DiskFull&) {
        } catch (...) {
            folder_.write_table();
            throw;
        }
        list_missing();
        folder_.write_table();
        return std::move(outcome_);
    }

  private:
    /// Ends the run: nothing of a whole batch could be written.
    struct DiskFull {};

    /// What only a run with missing clips needs.
    void prepare() {
        const SweepPlan& plan = folder_.plan();
        melody_ = hear_melody(plan.melody_path, model_.manifest(), settings_.duration_s);
        if (melody_.sha256 != settings_.melody_sha256) throw_other_file(plan.melody_path);
        if (!plan.measure_command.empty() && !own_) own_ = &started_.emplace(plan.measure_command);
    }

    ClipRunOptions run_options() const {
        ClipRunOptions run;
        run.num_frames = settings_.num_frames;
        run.windows = settings_.windows;
        run.sampling = settings_.sampling;
        run.melody = melody_;
        run.batch_size = settings_.batch_size;
        run.threads = static_cast<int>(settings_.threads);
        run.on_non_finite = NonFinitePolicy::kDropRequest;
        run.scored = folder_.plan().kl ? ScoredClips::kSteered : ScoredClips::kNone;
        run.stop = options_.stop;
        run.on_progress = [this](double clips) {
            if (!options_.on_progress) return;
            const std::int64_t tried = outcome_.made + std::ssize(reasons_);
            const double begun = static_cast<double>(tried_before_) + clips - static_cast<double>(tried);
            options_.on_progress({outcome_.found + tried, outcome_.planned, begun});
        };
        return run;
    }

    SessionRequest request(const ClipSpec& spec) {
        SessionRequest request;
        request.prompt = spec.prompt.value_or("");
        request.unconditional = !spec.prompt;
        request.negative_prompt = spec.negative_prompt;
        request.seed = spec.seed;
        std::vector<ResolvedSteering> parts;
        for (const SteeringSetting& setting : spec.steering) parts.push_back(vectors_.resolve(setting));
        request.steering = combine_parts(parts);
        return request;
    }

    void run_group(const Group& group, const ClipRunner& runner) {
        tried_before_ = outcome_.made + std::ssize(reasons_);
        runner.run(
            group.clips.size(), [&](std::size_t i) { return request(group.clips[i]->spec); },
            [&](const FinishedBatch& batch) { store(group, batch); });
    }

    void store(const Group& group, const FinishedBatch& batch) {
        const std::int64_t made_before = outcome_.made;
        bool cannot_write = false;
        for (std::size_t i = 0; i < batch.clips.size(); ++i) {
            const SweepClip& clip = *group.clips[batch.first + i];
            if (!batch.clips[i].failure.empty()) {
                overflowed_.insert(clip.id);
                fail(clip, batch.clips[i].failure);
                continue;
            }
            try {
                store(clip, batch.audio(i), batch.clips[i].score);
                ++outcome_.made;
            } catch (const Interrupted&) {
                throw;
            } catch (const MeasureCommandError&) {
                throw;
            } catch (const OutputError& error) {
                cannot_write = true;
                fail(clip, error.what());
            } catch (const Error& error) {
                fail(clip, error.what());
            }
        }
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - batch.start;
        folder_.log_timing({{"clips", outcome_.made - made_before},
                            {"batch_size", settings_.batch_size},
                            {"seconds", seconds.count()},
                            {"decoder_seconds", batch.decoder_s}});
        if (outcome_.made == made_before && cannot_write) throw DiskFull();
    }

    void store(const SweepClip& clip, const Audio& audio, const std::optional<ClipScore>& score) {
        const AudioMeasures measures =
            measure_audio(as_written(audio, sample_format_), {folder_.plan().tempo_prior});
        json record = clip_record(settings_, clip.spec);
        record["id"] = clip.id;
        record["clipped_samples"] = measures.clipped_samples;
        record["measures"] = measures_json(measures);
        if (score) record["kl_nats"] = score->kl_nats;
        record["file"] = nullptr;
        record["audio_sha256"] = nullptr;
        const std::filesystem::path file = folder_.paths().clip(clip.id);
        if (folder_.plan().audio) {
            write_wav(file, audio, sample_format_, Overwrite::kAllow);
            record["file"] = "clips/" + clip.id + ".wav";
            record["audio_sha256"] = sha256_of_file(file);
        }
        if (own_) {
            const OwnMeasures own =
                folder_.plan().audio ? own_->measure(file) : own_->measure(audio, sample_format_);
            for (const auto& [name, value] : own) record["measures"][name] = value ? json(*value) : json();
        }
        folder_.store(clip.id, record);
    }

    void fail(const SweepClip& clip, const std::string& reason) {
        reasons_[clip.id] = reason;
        if (options_.on_message) options_.on_message("clip " + clip.id + " failed: " + reason);
    }

    void list_missing() {
        for (const SweepClip& clip : folder_.clips()) {
            if (folder_.records().contains(clip.id)) continue;
            const auto reason = reasons_.find(clip.id);
            outcome_.missing.push_back({clip.id, reason == reasons_.end() ? "not tried" : reason->second,
                                        overflowed_.contains(clip.id)});
        }
    }

    const Model& model_;
    SweepFolder& folder_;
    const SweepOptions& options_;
    const ClipSettings& settings_;
    SampleFormat sample_format_;
    Melody melody_;
    VectorFiles vectors_;
    std::optional<MeasureCommand> started_;
    MeasureCommand* own_;  ///< null: built-in measures alone
    SweepOutcome outcome_;
    std::map<std::string, std::string> reasons_;  ///< clip ID -> why it failed
    std::int64_t tried_before_ = 0;               ///< before this group, in this run
    std::set<std::string> overflowed_;
};

}  // namespace

SweepEstimate estimate_sweep(const SweepPlan& plan, const Manifest& manifest,
                             const std::map<std::string, std::string>& records, double seconds_per_clip) {
    SweepEstimate estimate;
    std::map<std::int64_t, std::int64_t> left;  // text length -> clips, as batches_of sorts them
    plan.for_each_clip([&](const std::string& id, const ClipSpec& spec) {
        ++estimate.clips;
        if (!records.contains(id)) ++left[spec.text_length];
    });
    for (const auto& [length, clips] : left) {
        estimate.batches_left += (clips + plan.settings.batch_size - 1) / plan.settings.batch_size;
        estimate.clips_left += clips;
    }
    const std::uint64_t samples = static_cast<std::uint64_t>(plan.settings.num_frames) *
                                  static_cast<std::uint64_t>(manifest.codec.hop_length) *
                                  static_cast<std::uint64_t>(manifest.decoder.channels);
    const std::uint64_t sample_bytes = bytes_per_sample(parse_sample_format(plan.settings.sample_format));
    const std::uint64_t wav_bytes = plan.audio ? kWavHeaderBytes + samples * sample_bytes : 0;
    estimate.bytes = static_cast<std::uint64_t>(estimate.clips) * (wav_bytes + kRecordBytes);
    estimate.seconds_left = seconds_per_clip * static_cast<double>(estimate.clips_left);
    return estimate;
}

SweepOutcome run_sweep(const Model& model, SweepFolder& folder, const SweepOptions& options) {
    return Runner(model, folder, options).run();
}

}  // namespace musicsteer
