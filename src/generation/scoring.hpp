#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "generation/generation_session.hpp"

namespace musicsteer {

/// Columns of one scoring step; limits the memory of its distributions.
inline constexpr std::int64_t kScoringColumns = 32;

struct ScoringOptions {
    SamplingOptions sampling;  ///< guidance and temperature; top-k and top-p are ignored
    /// Clips scored together, two or four decoder rows each. The batch is filled up, as when generating.
    std::int64_t batch_size = 0;
    std::int64_t text_length = 0;  ///< minimum length that texts are padded to
    std::optional<WindowShape> windows;
    std::int64_t first_frame = 0;  ///< earlier frames were given and do not count
    std::stop_token stop;
};

/// What steering did to the model's predictions along one clip, in nats for each code.
struct ClipScore {
    double kl_nats = 0.0;   ///< mean of KL(steered || unsteered) over frames and codebooks
    double nll_nats = 0.0;  ///< mean of -log p(code) without steering
};

/// Feeds each clip's codes to the model twice, steered as the request says and unsteered, and compares the
/// guided distributions of every frame and codebook.
/// @param requests  at most a batch, each with `forced_codes` [K, N], all of the same N
/// @throws UsageError, ModelError, ResourceError, Interrupted
std::vector<ClipScore> score_clips(const Model& model, std::span<const SessionRequest> requests,
                                   const ScoringOptions& options);

struct ScoreOrFailure {
    std::optional<ClipScore> score;
    std::string failure;  ///< why there is no score: activations are not finite
};

/// The same, but one by one if the model fails on a clip. A score does not depend on which others fail.
/// @throws UsageError, ResourceError, Interrupted
std::vector<ScoreOrFailure> score_each_clip(const Model& model, std::span<const SessionRequest> requests,
                                            const ScoringOptions& options);

}  // namespace musicsteer
