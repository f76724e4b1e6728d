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
#include "generation/windows.hpp"
#include "model/model.hpp"

namespace musicsteer {

/// From a frame on, another prompt, other steering, or both. What is not given stays as before.
struct RequestSection {
    std::int64_t first_frame = 0;
    std::optional<std::string> prompt;
    std::optional<SteeringPlan> steering;
};

/// One clip of a batch.
struct SessionRequest {
    std::string prompt;
    bool unconditional = false;                  ///< the null text state instead of the prompt; one row only
    std::optional<std::string> negative_prompt;  ///< replaces the null state in guidance
    std::uint64_t seed = 0;
    at::Tensor
        melody;  ///< [F, 12] float32 chroma for the conditional row, or undefined: models with a prefix
    SteeringPlan steering;
    std::vector<RequestSection> sections;  ///< by first_frame
    at::Tensor forced_codes;               ///< [K, T0] int64, or undefined: teacher forcing, continuation
};

/// What steers the request: at the start, and in sections with steering of their own.
std::vector<SteeringPlan> plans_of(const SessionRequest& request);

/// What a session does if a request's activations are not finite, for example because of a huge alpha.
enum class NonFinitePolicy {
    kThrow,
    kDropRequest,  ///< that request fails (see failures()); the others keep their bits
};

/// Columns of given codes in one step. If a plan looks back, it is one.
inline constexpr std::int64_t kPrefillChunk = 64;

struct SessionOptions {
    std::int64_t num_frames = 0;         ///< N of every clip
    std::optional<WindowShape> windows;  ///< none: the model's
    /// Whether windows whose codes are all given are run. Only hooks and callers need this.
    bool run_given_windows = true;
    SamplingOptions sampling;
    std::int64_t prefill_chunk = kPrefillChunk;  ///< most columns of given codes in one step
    std::int64_t text_length = 0;                ///< pad texts to at least this; see text_length_for
    NonFinitePolicy on_non_finite = NonFinitePolicy::kThrow;
    std::stop_token stop;

    /// @throws UsageError
    void validate(const Manifest& manifest) const;
};

/// Text states are padded to a multiple of this, so that a prompt's bits rarely depend on the length of
/// others.
inline constexpr std::int64_t kTextBucket = 32;
/// The padded text length for all of these requests' texts. All batches of a run share it.
std::int64_t text_length_for(const Tokenizer& tokenizer, std::span<const SessionRequest> requests);
/// The same for one prompt.
std::int64_t text_length_for(const Tokenizer& tokenizer, const std::string& prompt,
                             const std::optional<std::string>& negative_prompt);

/// The result of one step.
struct StepResult {
    Window window;
    std::int64_t position = 0;  ///< first column, in the window
    std::int64_t columns = 0;   ///< T
    at::Tensor logits;          ///< [B, K, T, V] float32, before guidance
};

/// Owns rows, caches and position of a batch while it is generated. Rows are the requests' conditional rows
/// in order, then their null rows. One step is one decoder call for all of them.
///
/// A clip that is longer than the model's window is generated in several windows. Each begins with an empty
/// cache and is given the last codes of the one before, as in a continuation. Hooks stay registered. Times,
/// noise and sections count in the clip's frames.
class GenerationSession {
  public:
    /// @throws UsageError, InputError (an unusable prompt), ModelError, ResourceError, Interrupted
    GenerationSession(const Model& model, std::vector<SessionRequest> requests,
                      const SessionOptions& options);

    /// True if every frame is decided, or every request has failed.
    bool done() const {
        return position_ >= pattern_.num_positions() || failures_.size() == requests_.size();
    }
    /// Share of steps done, 0 to 1.
    double progress() const;
    /// Runs the next column, or the next chunk of given ones.
    /// @throws ModelError naming frame, hook point and prompt if an activation is not finite, unless such
    /// requests are dropped. @throws ResourceError, Interrupted
    StepResult step();
    /// Dropped requests, and why. Their codes are meaningless.
    const std::map<std::int64_t, std::string>& failures() const { return failures_; }

    /// In the current window.
    std::int64_t position() const { return position_; }
    std::int64_t num_positions() const { return pattern_.num_positions(); }
    /// Frames from the start whose codes are known in every codebook.
    std::int64_t finished_frames() const { return finished_frames_; }
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

    /// [R, K, N] int64 on the CPU; frames that are neither finished nor given hold the start token.
    const at::Tensor& codes() const { return codes_; }

  private:
    void build_rows();
    void tell(const std::vector<std::string>& prompts);
    at::Tensor melody_in_window(const at::Tensor& melody) const;
    void fill_forced_codes();
    void begin_window(std::size_t index);
    void enter_section();
    std::int64_t next_columns() const;
    void finish_frames(std::int64_t position);
    void draw(std::int64_t position, const at::Tensor& logits);
    void check_finite(at::Tensor& logits, const DecoderInput& input);
    std::map<std::int64_t, std::string> describe_non_finite(const DecoderInput& input,
                                                            const at::Tensor& bad_rows);

    const Model& model_;
    std::vector<SessionRequest> requests_;
    SessionOptions options_;
    std::vector<Window> windows_;
    std::size_t window_ = 0;
    DelayPattern pattern_;  ///< of the window
    HookRegistry hooks_;
    std::vector<std::int64_t> section_starts_;  ///< of all requests, each once, ascending
    std::size_t sections_begun_ = 0;
    std::optional<SteeringHooks> steering_;
    bool single_steps_ = false;  ///< one column a step, because a gate needs the previous frame

    std::vector<Row> rows_;
    std::vector<std::int64_t> null_row_of_request_;  ///< its own row if it has none
    at::Tensor request_of_row_;                      ///< [B] int64 on the CPU
    DecoderState state_;
    std::vector<std::string> told_;   ///< the decoder's current prompts
    std::size_t told_window_ = 0;     ///< the window in which they were given
    at::Tensor codes_;                ///< [R, K, N] int64 on the CPU
    std::int64_t forced_frames_ = 0;  ///< T0
    std::int64_t finished_frames_ = 0;
    at::Tensor sequence_;                           ///< of the window: [R, K, positions + 1] int64 on the CPU
    std::int64_t known_frames_ = 0;                 ///< of the window, from its start
    std::int64_t position_ = 0;                     ///< in the window
    std::map<std::int64_t, std::string> failures_;  ///< dropped request -> why
    std::function<void(std::int64_t, const at::Tensor&)> frame_sink_;
};

}  // namespace musicsteer
