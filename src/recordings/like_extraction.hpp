#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "directions/extraction_progress.hpp"
#include "recordings/hearing.hpp"
#include "recordings/recordings.hpp"

namespace musicsteer {

struct LikeExtractionOptions : HearingOptions, ResumeOptions {
    std::vector<std::string> prompts;  ///< of the contrast, in turn; at least one
    std::uint64_t seed = 0;            ///< clip i of the contrast gets seed + i
    std::int64_t batch_size = 0;       ///< of the contrast, see ClipRunOptions
    /// Clips of the contrast, including fractions.
    std::function<void(double done, std::int64_t total)> on_progress;
};

/// The contrast has at least this many clips, so that with few recordings it adds little noise of its own.
inline constexpr std::int64_t kMinContrastClips = 24;

/// Clips of the contrast: no fewer than recordings, and each prompt equally often.
std::int64_t contrast_size(std::int64_t recordings, std::int64_t prompts);

/// Pooled activations of one folder of recordings, the positive side, and of clips that the model plays from
/// prompts, the negative side. Clip i of the contrast is as long as recording i, counted round. It is decoded
/// to sound and then heard like a recording, because the codes that the codec finds for a sound differ from
/// those that the model draws.
/// @param sides  the negative one is empty
/// @throws Interrupted, with the progress kept in the progress file; InputError if the codec cannot encode;
/// OutputError if the progress file holds other settings; UsageError, ModelError, ResourceError
ActivationFile record_like(const Model& model, const RecordingSides& sides,
                           const LikeExtractionOptions& options);

}  // namespace musicsteer
