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
#include "model/melody.hpp"
#include "model/model.hpp"

namespace musicsteer {

/// Hook points that are replaced together: one site of one layer, or of all requested layers.
struct PatchVariant {
    Site site = Site::kResidPost;
    std::vector<std::int64_t> layers;

    std::vector<HookPoint> points() const;
};

/// Every site of every layer alone and, if there are several layers, each site of all of them at once.
std::vector<PatchVariant> patch_variants(const std::vector<std::int64_t>& layers,
                                         const std::vector<Site>& sites);

/// What replaces an activation.
enum class PatchMethod {
    kReplace,     ///< the activation of the source prompt's run
    kAblateZero,  ///< zeros
    kAblateMean,  ///< its mean over the frames of all clips
};

/// Codes that the model generated from a prompt.
struct PatchClip {
    std::string source;
    std::string target;  ///< the prompt whose run is patched; ablations have none
    std::uint64_t seed = 0;
    at::Tensor codes;  ///< [K, N] int64
};

struct PatchOptions {
    PatchMethod method = PatchMethod::kReplace;
    std::vector<PatchVariant> variants;
    std::optional<PositionRange> positions;  ///< where activations are replaced; default: everywhere
    Melody melody;                           ///< that the clips were played to
    std::int64_t batch_size = 0;             ///< variants scored together, see ClipRunOptions
    std::function<void(double done, std::size_t total)> on_progress;  ///< in clips
    std::stop_token stop;
};

/// log p(codes) of the conditional row at temperature 1, summed over frames and codebooks, in nats.
struct PatchScores {
    double source = 0.0;          ///< under the source prompt
    double target = 0.0;          ///< under the target prompt
    std::vector<double> patched;  ///< with each variant's activations replaced: under the target prompt, or
                                  ///< of ablations under the source's
};

/// Activation patching (Facchiano et al., arXiv 2504.04479) and ablation: runs each clip's codes
/// teacher-forced under its prompts, and once more for each variant, with activations replaced.
/// @throws UsageError, ModelError, ResourceError, Interrupted
std::vector<PatchScores> score_patches(const Model& model, std::span<const PatchClip> clips,
                                       const PatchOptions& options);

/// Share of the difference between the prompts that a variant's activations recover:
/// sum over clips of (patched - target) / sum of (source - target); 1 is all of it. The interval is over
/// clips. Undefined if the source prompts do not make their own codes likelier; without an interval if that
/// cannot be told from chance.
Estimate recovered_share(std::span<const PatchScores> scores, std::size_t variant);

/// The cost of ablating a variant: mean over clips of (source - patched) / codes, in nats a code, with an
/// interval over clips. @param codes  of one clip, K N
Estimate ablation_cost(std::span<const PatchScores> scores, std::size_t variant, std::int64_t codes);

}  // namespace musicsteer
