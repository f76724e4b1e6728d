#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "generation/generation_session.hpp"
#include "generation/scoring.hpp"
#include "model/melody.hpp"
#include "musicsteer/audio_file.hpp"

namespace musicsteer {

/// Which clips of a run are scored.
enum class ScoredClips {
    kNone,
    kSteered,  ///< the others have a KL of 0 without being scored
    kAll,
};

/// What the clips of a run have in common, and what is computed besides their codes.
struct ClipRunOptions {
    std::int64_t num_frames = 0;         ///< N of every clip
    std::optional<WindowShape> windows;  ///< none: the model's
    SamplingOptions sampling;
    Melody melody;                    ///< of all clips
    std::int64_t forced_columns = 0;  ///< columns of given codes in one step; 0: no codes are given
    bool run_forced_windows = true;   ///< as in SessionOptions
    NonFinitePolicy on_non_finite = NonFinitePolicy::kThrow;

    std::int64_t batch_size = 0;  ///< clips computed together; 0: default_batch_size
    std::uint64_t memory = 0;     ///< bytes that a default batch may use; 0: half of the free memory
    int threads = 0;              ///< 0: as many as the process already uses

    bool with_audio = true;  ///< FinishedBatch::audio will be called
    /// If a batch is interrupted, pass its partial clips to the sink before Interrupted is thrown.
    bool keep_partial = false;
    ScoredClips scored = ScoredClips::kNone;
    std::uint64_t recorded_bytes = 0;  ///< that recorders store for a batch
    /// Requests at the start of every batch, for hooks to read from.
    std::vector<SessionRequest> references;
    /// Called with each batch's session before its first step, to register recorders and edits.
    std::function<void(GenerationSession& session, std::size_t first, std::size_t clips)> on_session;
    std::function<void(const GenerationSession& session, const StepResult& step)> on_step;

    std::function<void(double clips)> on_progress;  ///< clips done, including fractions
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;

    /// @throws UsageError
    void validate(const Manifest& manifest) const;
};

/// The execution shape: decided once for all batches of a run, and part of the clips' records, because
/// linears give other last bits for other numbers of rows.
struct ExecutionShape {
    std::int64_t batch_size = 0;
    std::int64_t text_length = 0;
    std::int64_t threads = 0;
};

struct FinishedClip {
    at::Tensor codes;                ///< [K, N] int64; fewer frames if the batch is partial
    std::optional<ClipScore> score;  ///< if the run scores it
    std::string failure;             ///< why it failed; its codes are then meaningless
};

/// A batch of finished clips.
class FinishedBatch {
  public:
    FinishedBatch(const Model& model, std::stop_token stop) : model_(model), stop_(std::move(stop)) {}

    std::size_t first = 0;    ///< index of its first clip in the run
    bool is_partial = false;  ///< interrupted: its clips have fewer frames than requested
    std::vector<FinishedClip> clips;
    std::chrono::steady_clock::time_point start;
    double decoder_s = 0.0;  ///< seconds until the codes were finished

    /// Decodes the audio of one of its clips. One at a time is fastest and takes the least memory.
    /// @throws ModelError, ResourceError, Interrupted
    Audio audio(std::size_t index) const;

  private:
    const Model& model_;
    std::stop_token stop_;
};

/// The one way to run clips: decides batch size, padded text length, threads and memory once, and hands the
/// clips to a sink, batch by batch, in order. Every batch has the same number of requests, so that a clip
/// does not depend on how many there are. A short batch is filled up with copies of its last request.
class ClipRunner {
  public:
    using RequestOf = std::function<SessionRequest(std::size_t index)>;
    using Sink = std::function<void(const FinishedBatch& batch)>;

    /// @param clips  number of clips, for the default batch size
    /// @param text_length  length that all texts are padded to, see text_length_for
    /// @throws UsageError; @throws ResourceError if a batch would not fit into memory
    ClipRunner(const Model& model, ClipRunOptions options, std::size_t clips, std::int64_t text_length);

    const ExecutionShape& shape() const { return shape_; }

    /// @param request_of  called for each clip when its batch begins
    /// @throws Interrupted; ResourceError; what the session throws
    void run(std::size_t clips, const RequestOf& request_of, const Sink& sink) const;
    void run(std::span<const SessionRequest> requests, const Sink& sink) const;

  private:
    FinishedBatch run_batch(std::size_t first, std::size_t count, const RequestOf& request_of) const;
    void score(std::span<const SessionRequest> requests, std::vector<FinishedClip>& clips) const;

    const Model& model_;
    ClipRunOptions options_;
    ExecutionShape shape_;
};

/// A warning about texts of this padded length; empty if T5 was trained on such texts.
std::optional<std::string> warning_of_text_length(std::int64_t text_length);

}  // namespace musicsteer
