#pragma once

#include <cstdint>

namespace musicsteer {

// Limits on the sizes that files may state: far larger than any real model, and small enough that no product
// of sizes overflows 64 bits.
inline constexpr std::int64_t kMaxLayers = 1024;
inline constexpr std::int64_t kMaxWidth = std::int64_t{1} << 20;

}  // namespace musicsteer
