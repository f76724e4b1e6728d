#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "generation/delay_pattern.hpp"
#include "generation/sampler.hpp"
#include "generation/steering_hooks.hpp"
#include "model/model.hpp"

namespace musicsteer {

/// One clip of a batch.
struct SessionRequest {
    std::string prompt;
    bool unconditional = false;                  ///< the null text state instead of the prompt; one row only
    std::optional<std::string> negative_prompt;  ///< takes the place of the null state in guidance
    std::uint64_t seed = 0;
    at::Tensor
        melody;  ///< [F, 12] float32 chroma for the conditional row, or undefined: models with a prefix
    SteeringPlan steering;
    at::Tensor forced_codes;  ///< [K, T0] int64, or undefined: teacher forcing, continuation
};

/// What a session does when a request's activations are not finite, as under a huge alpha.
enum class NonFinitePolicy {
    kThrow,
    kDropRequest,  ///< that request fails (see failures()); the others stay as they would be, bit by bit
};

/// Columns of given codes that one step takes, unless a plan looks back: then it is one.
inline constexpr std::int64_t kPrefillChunk = 64;

struct SessionOptions {
    std::int64_t num_frames = 0;  ///< N of every clip
    SamplingOptions sampling;
    std::int64_t prefill_chunk = kPrefillChunk;  ///< columns of given codes that one step may take
    std::int64_t text_length = 0;                ///< pad texts to at least this; see text_length_for
    NonFinitePolicy on_non_finite = NonFinitePolicy::kThrow;
    std::stop_token stop;

    /// @throws UsageError
    void validate(const Manifest& manifest) const;
};

/// Text states are padded to a multiple of this, so that a prompt's bits rarely depend on its companions'
/// length.
inline constexpr std::int64_t kTextBucket = 32;
/// The padded text length that holds every one of these requests' texts. Batches of one run share it.
std::int64_t text_length_for(const Tokenizer& tokenizer, std::span<const SessionRequest> requests);
/// The same of one prompt.
std::int64_t text_length_for(const Tokenizer& tokenizer, const std::string& prompt,
                             const std::optional<std::string>& negative_prompt);

/// What one step computed.
struct StepResult {
    std::int64_t position = 0;  ///< first column
    std::int64_t columns = 0;   ///< T
    at::Tensor logits;          ///< [B, K, T, V] float32, before guidance
};

/// Owns rows, caches and position of a batch while it is generated. Rows are the requests' conditional rows
/// in order, then their null rows. One step is one decoder call for all of them.
class GenerationSession {
  public:
    /// @throws UsageError, InputError (an unusable prompt), ModelError, ResourceError, Interrupted
    GenerationSession(const Model& model, std::vector<SessionRequest> requests,
                      const SessionOptions& options);

    /// Every frame is decided, or every request has failed.
    bool done() const {
        return position_ >= pattern_.num_positions() || failures_.size() == requests_.size();
    }
    /// Runs the next column, or the next chunk of given ones.
    /// @throws ModelError naming frame, hook point and prompt if an activation is not finite, unless the
    /// request is to be dropped. @throws ResourceError, Interrupted
    StepResult step();
    /// Requests that were dropped, and why. Their codes mean nothing.
    const std::map<std::int64_t, std::string>& failures() const { return failures_; }

    std::int64_t position() const { return position_; }
    std::int64_t num_positions() const { return pattern_.num_positions(); }
    std::int64_t num_requests() const { return static_cast<std::int64_t>(requests_.size()); }
    std::span<const Row> rows() const { return rows_; }

    /// Guidance applied to a step's logits: a request without a null row keeps its own.
    /// @param logits  [B, ...], rows as in rows()
    /// @return [R, ...]
    at::Tensor guided(const at::Tensor& logits) const;

    /// Register recorders here before the first step. They must not outlive the session.
    HookRegistry& hooks() { return hooks_; }
    /// Replaces every request's plan, from the next step on. @param plans  one for each request
    void set_steering(const std::vector<SteeringPlan>& plans);
    /// Called with each finished frame, in order: (frame, codes [R, K]).
    void on_frame(std::function<void(std::int64_t, const at::Tensor&)> sink) {
        frame_sink_ = std::move(sink);
    }

    /// [R, K, N] int64 on the CPU; frames that are not finished hold the start token.
    at::Tensor codes() const;

  private:
    void build_rows();
    void begin();
    void fill_forced_codes();
    std::int64_t next_columns() const;
    void draw(std::int64_t position, const at::Tensor& logits);
    void check_finite(at::Tensor& logits, const DecoderInput& input);
    std::map<std::int64_t, std::string> describe_non_finite(const DecoderInput& input,
                                                            const at::Tensor& bad_rows);

    const Model& model_;
    std::vector<SessionRequest> requests_;
    SessionOptions options_;
    DelayPattern pattern_;
    HookRegistry hooks_;
    std::optional<SteeringHooks> steering_;
    bool single_steps_ = false;  ///< columns, since a gate needs the frame before

    std::vector<Row> rows_;
    std::vector<std::int64_t> null_row_of_request_;  ///< its own row where it has none
    at::Tensor request_of_row_;                      ///< [B] int64 on the CPU
    DecoderState state_;
    at::Tensor sequence_;             ///< [R, K, positions + 1] int64 on the CPU
    std::int64_t forced_frames_ = 0;  ///< T0
    std::int64_t position_ = 0;
    std::map<std::int64_t, std::string> failures_;  ///< dropped request -> why
    std::function<void(std::int64_t, const at::Tensor&)> frame_sink_;
};

}  // namespace musicsteer
