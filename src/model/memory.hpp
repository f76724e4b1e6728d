#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "bundle/manifest.hpp"

namespace musicsteer {

/// Bytes that a batch needs besides the loaded model, by purpose.
struct MemoryEstimate {
    std::uint64_t cache = 0;  ///< self-attention keys and values
    std::uint64_t text = 0;   ///< cross-attention keys and values
    std::uint64_t step = 0;   ///< logits and activations of one step
    std::uint64_t codec = 0;  ///< decoding one clip

    std::uint64_t total() const { return cache + text + step + codec; }
};

/// What determines the memory of a clip, whatever the batch size.
struct ClipNeeds {
    std::int64_t frames = 0;
    std::int64_t window_frames = 0;  ///< that the decoder sees at once; 0: all
    std::int64_t text_length = 0;    ///< length that texts are padded to
    std::int64_t columns = 1;        ///< of one step
    bool guided = true;
    bool scored = false;          ///< run steered and unsteered side by side
    bool decoded = true;          ///< whether codes are decoded to audio
    std::int64_t references = 0;  ///< requests that every batch holds besides its clips
    std::uint64_t recorded = 0;   ///< bytes of recorded activations
};

/// Default number of clips computed together, if memory allows.
inline constexpr std::int64_t kMaxDefaultBatch = 16;

/// The message when memory runs out in spite of all estimates.
inline constexpr const char* kOutOfMemory =
    "out of memory: use a smaller --batch-size or a shorter --duration";

/// Sizes above 10^18 bytes, which no machine has, are not told apart.
MemoryEstimate estimate_memory(const Manifest& manifest, const ClipNeeds& needs, std::int64_t batch_size);

/// The default batch size: the number of clips, at most kMaxDefaultBatch, halved until a batch fits into
/// `memory`, and at least 1.
std::int64_t default_batch_size(const Manifest& manifest, const ClipNeeds& needs, std::int64_t clips,
                                std::uint64_t memory);

/// Memory that this process may still use: the smaller of MemAvailable and what its control group's limit
/// leaves. The maximum value if that is unknown.
/// @param root  where proc and sys are found
std::uint64_t available_memory(const std::filesystem::path& root = "/");

/// The same for a device; for a GPU, as its driver reports.
std::uint64_t available_memory(c10::Device device);

/// @throws ResourceError "this batch needs about 31.0 GB ... and may use 22.4 GB: use a smaller --batch-size
/// ..."
void require_memory(const MemoryEstimate& estimate, std::uint64_t available);

/// "1.5 GB"
std::string format_bytes(std::uint64_t bytes);

}  // namespace musicsteer
