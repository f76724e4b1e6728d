#pragma once

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

struct BatchShape {
    std::int64_t rows = 0;
    std::int64_t frames = 0;
    std::int64_t texts = 0;
    std::int64_t text_length = 0;
    std::int64_t columns = 1;  ///< of one step
};

/// Clips computed together unless the user says otherwise or memory is short.
inline constexpr std::int64_t kMaxDefaultBatch = 16;

/// Sizes that no machine has (above 10^18 bytes) are all the same.
MemoryEstimate estimate_memory(const Manifest& manifest, const BatchShape& shape);

/// Memory this process may still take: the least of MemAvailable and what its control group's limit leaves.
/// The maximum value where that is unknown.
/// @param root  where proc and sys are found
std::uint64_t available_memory(const std::filesystem::path& root = "/");

/// @throws ResourceError "this batch needs about 31.0 GB ...; 22.4 GB are free: use a shorter --duration ..."
void require_memory(const MemoryEstimate& estimate, std::uint64_t available);

/// "1.5 GB"
std::string format_bytes(std::uint64_t bytes);

}  // namespace musicsteer
