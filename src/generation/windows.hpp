#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/manifest.hpp"

namespace musicsteer {

/// How clips are cut that are longer than what the model hears at once. In frames.
struct WindowShape {
    std::int64_t length = 0;
    std::int64_t stride = 0;  ///< by which a window lies behind the one before it

    /// The model's: as long as the clips that it was trained on.
    /// @param stride_s  default: 18 s of 30, in proportion for another length
    /// @throws UsageError for a stride that is no frame, or leaves the next window nothing to go on from
    static WindowShape of(const Manifest& manifest, std::optional<double> stride_s = std::nullopt);

    bool operator==(const WindowShape&) const = default;
};

/// A stretch of a clip that the model hears at once.
struct Window {
    std::int64_t first = 0;  ///< frame of the clip
    std::int64_t frames = 0;
    std::int64_t repeated = 0;  ///< how many of its frames the window before it had: they are given

    std::int64_t end() const { return first + frames; }
};

/// The windows of a clip of N frames, as audiocraft's extend_stride has them. With length 5, stride 3, N 9:
///
///     frame      0 1 2 3 4 5 6 7 8
///     window 0   * * * * *
///     window 1         . . * * *        (. repeated, * new)
///     window 2               . . *
std::vector<Window> windows_of(std::int64_t num_frames, const WindowShape& shape);

}  // namespace musicsteer
