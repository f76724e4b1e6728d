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
    kSteered,  ///< the others have a KL of 0 without a run
    kAll,
};

/// What the clips of a run have in common, and what is wanted of them beside their codes.
struct ClipRunOptions {
    std::int64_t num_frames = 0;         ///< N of every clip
    std::optional<WindowShape> windows;  ///< none: the model's
    SamplingOptions sampling;
    Melody melody;                   ///< that all of them follow
    std::int64_t given_columns = 0;  ///< of given codes that one step takes; 0: no codes are given
    bool run_given_windows = true;   ///< as in SessionOptions
    NonFinitePolicy on_non_finite = NonFinitePolicy::kThrow;

    std::int64_t batch_size = 0;  ///< clips computed together; 0: default_batch_size
    std::uint64_t memory = 0;     ///< bytes that a default batch may take; 0: half of what is free
    int threads = 0;              ///< 0: as many as the process uses already

    bool with_audio = true;  ///< FinishedBatch::audio will be asked for
    /// Where a batch is interrupted, its clips go to the sink as far as they are, before Interrupted is
    /// thrown.
    bool keep_partial = false;
    ScoredClips scored = ScoredClips::kNone;
    std::uint64_t recorded_bytes = 0;  ///< that recorders keep of a batch
    /// Requests in front of every batch, for hooks to read from.
    std::vector<SessionRequest> references;
    /// Called with each batch's session before its first step, to register recorders and edits.
    std::function<void(GenerationSession& session, std::size_t first, std::size_t clips)> on_session;
    std::function<void(const GenerationSession& session, const StepResult& step)> on_step;

    std::function<void(double clips)> on_progress;  ///< clips of this run that are done, parts included
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;

    /// @throws UsageError
    void validate(const Manifest& manifest) const;
};

/// Numbers of rows give linears other last bits: what is decided once for all batches of a run, and stands in
/// the records of its clips.
struct ExecutionShape {
    std::int64_t batch_size = 0;
    std::int64_t text_length = 0;
    std::int64_t threads = 0;
};

struct FinishedClip {
    at::Tensor codes;                ///< [K, N] int64; fewer frames where the batch is partial
    std::optional<ClipScore> score;  ///< if the run scores it
    std::string failure;             ///< why it failed: its codes mean nothing then
};

/// A batch of finished clips.
class FinishedBatch {
  public:
    FinishedBatch(const Model& model, std::stop_token stop) : model_(model), stop_(std::move(stop)) {}

    std::size_t first = 0;    ///< place of its first clip in the run
    bool is_partial = false;  ///< interrupted: its clips have fewer frames than were asked for
    std::vector<FinishedClip> clips;
    std::chrono::steady_clock::time_point start;
    double decoder_s = 0.0;  ///< seconds until the codes were there

    /// The sound of one of its clips, decoded now: one by one is fastest, and takes the least memory.
    /// @throws ModelError, ResourceError, Interrupted
    Audio audio(std::size_t index) const;

  private:
    const Model& model_;
    std::stop_token stop_;
};

/// The one way to run clips: decides batch size, padded text length, threads and memory once, and hands the
/// clips to a sink, batch by batch, in order. Every batch has the same number of requests, so that a clip
/// does not depend on how many there are: a short one is filled up with copies of its last request.
class ClipRunner {
  public:
    using RequestOf = std::function<SessionRequest(std::size_t index)>;
    using Sink = std::function<void(const FinishedBatch& batch)>;

    /// @param clips  how many there will be, for the default batch size
    /// @param text_length  that all texts are padded to, see text_length_for
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

/// What to say of texts that are padded to this length; nothing if T5 was trained on such.
std::optional<std::string> warning_of_text_length(std::int64_t text_length);

}  // namespace musicsteer
