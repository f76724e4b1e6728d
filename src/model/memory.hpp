#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/manifest.hpp"

namespace musicsteer {

/// Bytes a batch needs beyond what is loaded, and where they go.
struct MemoryEstimate {
    std::uint64_t cache = 0;  ///< self-attention keys and values
    std::uint64_t text = 0;   ///< cross-attention keys and values
    std::uint64_t step = 0;   ///< logits and activations of one step
    std::uint64_t codec = 0;  ///< decoding one clip

    std::uint64_t total() const { return cache + text + step + codec; }
};

/// What a clip of a run needs, whatever the size of its batch.
struct ClipNeeds {
    std::int64_t frames = 0;
    std::int64_t text_length = 0;  ///< that texts are padded to
    std::int64_t columns = 1;      ///< of one step
    bool guided = true;
    bool scored = false;          ///< run steered and unsteered side by side
    bool decoded = true;          ///< to sound
    std::int64_t references = 0;  ///< requests that every batch holds beside its clips
    std::uint64_t recorded = 0;   ///< bytes of activations that are kept
};

/// Clips computed together unless the user says otherwise or memory is short.
inline constexpr std::int64_t kMaxDefaultBatch = 16;

/// Said where memory gave out in spite of all estimates.
inline constexpr const char* kOutOfMemory =
    "out of memory: use a smaller --batch-size or a shorter --duration";

/// Sizes that no machine has (above 10^18 bytes) are all the same.
MemoryEstimate estimate_memory(const Manifest& manifest, const ClipNeeds& needs, std::int64_t batch_size);

/// The batch size where the user does not say: as many as there are clips, at most kMaxDefaultBatch, halved
/// until they fit into `memory`, or one, whether or not it fits.
std::int64_t default_batch_size(const Manifest& manifest, const ClipNeeds& needs, std::int64_t clips,
                                std::uint64_t memory);

/// Memory this process may still take: the least of MemAvailable and what its control group's limit leaves.
/// The maximum value where that is unknown.
/// @param root  where proc and sys are found
std::uint64_t available_memory(const std::filesystem::path& root = "/");

/// The same of a device: of a GPU what its driver says.
std::uint64_t available_memory(c10::Device device);

/// @throws ResourceError "this batch needs about 31.0 GB ... and may take 22.4 GB: use a smaller --batch-size
/// ..."
void require_memory(const MemoryEstimate& estimate, std::uint64_t available);

/// "1.5 GB"
std::string format_bytes(std::uint64_t bytes);

}  // namespace musicsteer
