#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "experiments/measure_command.hpp"
#include "generation/clip_runner.hpp"
#include "musicsteer/metrics.hpp"

namespace musicsteer {

struct TrialOptions {
    double duration_s = 8.0;
    SamplingOptions sampling;
    MeasureOptions measuring;
    MeasureCommand* own = nullptr;  ///< measures beside; outlives the runner
    /// Clips computed together, in batches that are filled up. 0: at most 16, as `memory` allows.
    std::int64_t batch_size = 0;
    std::uint64_t memory = 0;  ///< bytes that a batch may use besides the model; 0: half of the free memory
    std::int64_t text_length = 0;  ///< length that texts are padded to in every run; see text_length_for
    /// Called after each step with the clips done in this run; a partial batch counts as a part of its clips.
    std::function<void(double clips)> on_progress;
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;
};

/// The result of one clip.
struct Trial {
    std::optional<AudioMeasures> measures;  ///< nothing if it failed
    OwnMeasures own;
    double kl_nats = 0.0;  ///< what steering cost (scoring.hpp); 0 without steering
    std::string failure;   ///< why it failed: activations that are not finite, ...
};

/// Makes clips in memory and measures them, without keeping the audio: for searches that try many ways of
/// steering. Every batch of an object has the same shape, so that a clip is the same in every run.
class TrialRunner {
  public:
    /// @throws UsageError; @throws ResourceError if not one clip fits into the memory
    TrialRunner(const Model& model, TrialOptions options);

    std::int64_t batch_size() const { return runner_.shape().batch_size; }
    /// @return one for each request, in order. @throws Interrupted, ModelError, InputError
    std::vector<Trial> run(std::span<const SessionRequest> requests) const;

  private:
    MeasureOptions measuring_;
    MeasureCommand* own_;
    ClipRunner runner_;
};

}  // namespace musicsteer
