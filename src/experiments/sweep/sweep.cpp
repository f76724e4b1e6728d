#include "experiments/sweep/sweep.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "audio/metrics.hpp"
#include "base/errors.hpp"
#include "generation/generator.hpp"
#include "generation/scoring.hpp"
#include "io/sha256.hpp"
#include "model/memory.hpp"
#include "steering/combination.hpp"
#include "steering/resolve.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kRecordBytes = 2'000;
constexpr std::uint64_t kWavHeaderBytes = 44;

/// Clips of one text length, and so of one shape; at most as many as a batch takes.
using Batch = std::vector<const SweepClip*>;

std::vector<Batch> batches_of(const std::vector<SweepClip>& clips, std::int64_t batch_size,
                              const std::map<std::string, std::string>& records) {
    std::map<std::int64_t, std::vector<Batch>> by_length;
    for (const SweepClip& clip : clips) {
        if (records.contains(clip.id)) continue;
        std::vector<Batch>& batches = by_length[clip.spec.text_length];
        if (batches.empty() || std::ssize(batches.back()) == batch_size) batches.emplace_back();
        batches.back().push_back(&clip);
    }
    std::vector<Batch> all;
    for (auto& [length, batches] : by_length)
        all.insert(all.end(), std::make_move_iterator(batches.begin()),
                   std::make_move_iterator(batches.end()));
    return all;
}

/// The plan's vector files, each read once and held to its hash.
class VectorFiles {
  public:
    explicit VectorFiles(const Manifest& manifest) : manifest_(manifest) {}

    SteeringPart part(const SteeringSetting& setting) {
        std::optional<Gate> gate;
        if (setting.gate) {
            gate = setting.gate->with_direction(load(setting.gate->file, setting.gate->sha256),
                                                manifest_.decoder.num_layers);
        }
        const VectorFile& vectors = load(setting.file, setting.sha256);
        return {setting.file, resolve_steering(vectors, setting, manifest_.decoder, gate).plan};
    }

  private:
    const VectorFile& load(const std::string& file, const std::string& sha256) {
        auto found = files_.find(file);
        if (found == files_.end()) {
            if (sha256_of_file(file) != sha256) {
                throw InputError(file +
                                 ": is not the file that the plan was made with (its SHA-256 differs)");
            }
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
          vectors_(model.manifest()) {
        outcome_.planned = std::ssize(folder.clips());
        outcome_.found = std::ssize(folder.records());
    }

    SweepOutcome run() {
        const auto batches = batches_of(folder_.clips(), settings_.batch_size, folder_.records());
        if (!batches.empty()) check_memory();
        try {
            for (const Batch& batch : batches) {
                const std::int64_t made_before = outcome_.made;
                cannot_write_ = false;
                run_batch(batch);
                if (outcome_.made == made_before && cannot_write_) break;  // a full disk: no use in going on
            }
        } catch (const Interrupted&) {
            folder_.write_table();
            throw;
        }
        list_missing();
        folder_.write_table();
        return std::move(outcome_);
    }

  private:
    void check_memory() const {
        require_memory(batch_memory(folder_.plan(), model_.manifest(), settings_.batch_size),
                       available_memory());
    }

    SessionRequest request(const ClipSpec& spec) {
        SessionRequest request;
        request.prompt = spec.prompt.value_or("");
        request.unconditional = !spec.prompt;
        request.negative_prompt = spec.negative_prompt;
        request.seed = spec.seed;
        std::vector<SteeringPart> parts;
        for (const SteeringSetting& setting : spec.steering) parts.push_back(vectors_.part(setting));
        request.steering = combine_parts(parts);
        return request;
    }

    /// What one batch's clips are, before anything is measured.
    struct Generated {
        at::Tensor codes;                              ///< [R, K, N]
        std::map<std::int64_t, std::string> failures;  ///< place in the batch -> why
    };

    Generated generate_batch(const Batch& batch) {
        std::vector<SessionRequest> requests;
        for (const SweepClip* clip : batch) requests.push_back(request(clip->spec));
        SessionOptions session_options;
        session_options.num_frames = settings_.num_frames;
        session_options.sampling = settings_.sampling;
        session_options.text_length = batch.front()->spec.text_length;
        session_options.on_non_finite = NonFinitePolicy::kDropRequest;
        GenerationSession session(model_, fill_batch(std::move(requests), settings_.batch_size),
                                  session_options);
        run_session(session, options_.stop, [&](std::int64_t) {
            tell_progress(
                static_cast<double>(session.position()) / static_cast<double>(session.num_positions()),
                std::ssize(batch));
        });
        return {session.codes(), session.failures()};
    }

    /// KL divergence by place in the batch, of the clips that did not fail; those that cannot be scored join
    /// the failures. Always of the sweep's batch size, so that a score does not depend on companions.
    std::map<std::int64_t, double> score_batch(const Batch& batch, Generated& generated) {
        std::map<std::int64_t, double> scores;
        std::vector<std::int64_t> places;
        std::vector<SessionRequest> requests;
        for (std::int64_t i = 0; i < std::ssize(batch); ++i) {
            const ClipSpec& spec = batch[static_cast<std::size_t>(i)]->spec;
            if (generated.failures.contains(i)) continue;
            if (spec.steering.empty()) {
                scores[i] = 0.0;
                continue;
            }
            places.push_back(i);
            requests.push_back(request(spec));
            requests.back().forced_codes = generated.codes[i];
        }
        ScoringOptions scoring;
        scoring.sampling = settings_.sampling;
        scoring.batch_size = settings_.batch_size;
        scoring.text_length = batch.front()->spec.text_length;
        scoring.stop = options_.stop;
        const std::vector<ScoreOrFailure> found = score_each_clip(model_, requests, scoring);
        for (std::size_t i = 0; i < found.size(); ++i) {
            if (found[i].score) {
                scores[places[i]] = found[i].score->kl_nats;
            } else {
                generated.failures[places[i]] = found[i].failure;
            }
        }
        return scores;
    }

    void run_batch(const Batch& batch) {
        const auto start = Clock::now();
        const std::int64_t made_before = outcome_.made;
        Generated generated = generate_batch(batch);
        const auto decoded = Clock::now();
        std::map<std::int64_t, double> scores;
        if (folder_.plan().kl) scores = score_batch(batch, generated);
        for (std::int64_t i = 0; i < std::ssize(batch); ++i) {
            if (options_.stop.stop_requested()) throw Interrupted("interrupted");
            const SweepClip& clip = *batch[static_cast<std::size_t>(i)];
            const auto failure = generated.failures.find(i);
            if (failure != generated.failures.end()) {
                fail(clip, failure->second);
                continue;
            }
            const auto score = scores.find(i);
            finish(clip, generated.codes.narrow(0, i, 1),
                   score == scores.end() ? std::nullopt : std::optional(score->second));
        }
        const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
        folder_.log_timing({{"clips", outcome_.made - made_before},
                            {"batch_size", settings_.batch_size},
                            {"seconds", seconds(Clock::now() - start)},
                            {"decoder_seconds", seconds(decoded - start)}});
    }

    /// @param codes  [1, K, N]
    void finish(const SweepClip& clip, const at::Tensor& codes, std::optional<double> kl_nats) {
        try {
            const Audio audio = decode_clip(model_, codes);
            json record = clip_record(settings_, clip.spec);
            record["id"] = clip.id;
            record["clipped_samples"] = clipped_samples(audio);
            record["measures"] =
                measures_json(measure_audio(as_written(audio, sample_format_), {folder_.plan().tempo_prior}));
            if (kl_nats) record["kl_nats"] = *kl_nats;
            record["file"] = nullptr;
            record["audio_sha256"] = nullptr;
            if (folder_.plan().audio) {
                const std::filesystem::path file = folder_.paths().clip(clip.id);
                write_wav(file, audio, sample_format_, Overwrite::kAllow);
                record["file"] = "clips/" + clip.id + ".wav";
                record["audio_sha256"] = sha256_of_file(file);
            }
            folder_.store(clip.id, record);
            ++outcome_.made;
        } catch (const OutputError& error) {
            cannot_write_ = true;
            fail(clip, error.what());
        } catch (const Error& error) {
            fail(clip, error.what());
        }
    }

    void fail(const SweepClip& clip, const std::string& reason) {
        reasons_[clip.id] = reason;
        if (options_.on_message) options_.on_message("clip " + clip.id + " failed: " + reason);
    }

    void tell_progress(double share, std::int64_t batch_clips) const {
        if (!options_.on_progress) return;
        options_.on_progress(
            {outcome_.found + outcome_.made + std::ssize(reasons_), outcome_.planned, share, batch_clips});
    }

    void list_missing() {
        for (const SweepClip& clip : folder_.clips()) {
            if (folder_.records().contains(clip.id)) continue;
            const auto reason = reasons_.find(clip.id);
            outcome_.missing.push_back({clip.id, reason == reasons_.end() ? "not tried" : reason->second});
        }
    }

    const Model& model_;
    SweepFolder& folder_;
    const SweepOptions& options_;
    const ClipSettings& settings_;
    SampleFormat sample_format_;
    VectorFiles vectors_;
    SweepOutcome outcome_;
    std::map<std::string, std::string> reasons_;  ///< clip ID -> why it failed
    bool cannot_write_ = false;
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
