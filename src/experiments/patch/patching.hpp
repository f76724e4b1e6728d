#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/statistics.hpp"
#include "generation/activations.hpp"
#include "model/model.hpp"

namespace musicsteer {

/// Hook points that are replaced together: one site of one layer, or of all layers that were asked for.
struct PatchVariant {
    Site site = Site::kResidPost;
    std::vector<std::int64_t> layers;

    std::vector<HookPoint> points() const;
};

/// Every site of every layer by itself, and then, if there are several layers, each site of all of them at
/// once.
std::vector<PatchVariant> patch_variants(const std::vector<std::int64_t>& layers,
                                         const std::vector<Site>& sites);

/// Two prompts, and the codes that the model played from the source's.
struct PatchPair {
    std::string source;
    std::string target;
    std::uint64_t seed = 0;
    at::Tensor codes;  ///< [K, N] int64
};

struct PatchOptions {
    std::vector<PatchVariant> variants;
    std::optional<PositionRange> positions;  ///< where activations are replaced; default: everywhere
    std::int64_t batch_size = 0;             ///< variants scored together, see ClipRunOptions
    std::function<void(double done, std::size_t total)> on_progress;  ///< in pairs or clips
    std::function<void(const std::string&)> on_warning;
    std::stop_token stop;
};

/// log p(source's codes), summed over frames and codebooks, in nats; of the conditional row, at
/// temperature 1.
struct PatchScores {
    double source = 0.0;          ///< under the source prompt
    double target = 0.0;          ///< under the target prompt
    std::vector<double> patched;  ///< under the target prompt with each variant's activations from the source
};

/// Activation patching (Facchiano et al., arXiv 2504.04479): runs each pair's codes teacher-forced under both
/// prompts, and under the target's with the activations of each variant replaced by those of the source's
/// run.
/// @throws UsageError, ModelError, ResourceError, Interrupted
std::vector<PatchScores> score_patches(const Model& model, std::span<const PatchPair> pairs,
                                       const PatchOptions& options);

/// What one variant's activations bring back of the difference between the prompts:
/// sum over pairs of (patched - target) / sum of (source - target); 1 is all of it. Its interval is over
/// pairs. Undefined if the sources' prompts make their own codes no likelier; without an interval if that
/// can't be told from chance.
Estimate recovered_share(std::span<const PatchScores> scores, std::size_t variant);

/// What takes an activation's place.
enum class Ablation {
    kZero,
    kMean,  ///< its mean over the frames of all clips
};

/// A prompt, and the codes that the model played from it.
struct AblationClip {
    std::string prompt;
    std::uint64_t seed = 0;
    at::Tensor codes;  ///< [K, N] int64
};

/// log p(codes) as in PatchScores.
struct AblationScores {
    double plain = 0.0;
    std::vector<double> ablated;
};

/// @throws as score_patches
std::vector<AblationScores> score_ablations(const Model& model, std::span<const AblationClip> clips,
                                            Ablation ablation, const PatchOptions& options);

/// What ablating a variant costs: mean over clips of (plain - ablated) / codes, in nats a code, with
/// an interval over clips. @param codes  of one clip, K N
Estimate ablation_cost(std::span<const AblationScores> scores, std::size_t variant, std::int64_t codes);

}  // namespace musicsteer
