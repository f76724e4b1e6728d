#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bundle/manifest.hpp"

namespace musicsteer {

/// How clips longer than the model's window are cut, in frames.
struct WindowShape {
    std::int64_t length = 0;
    std::int64_t stride = 0;  ///< from the start of a window to the start of the next

    /// The model's window: as long as the clips that it was trained on.
    /// @param stride_s  default: 18 s of 30, in proportion for another length
    /// @throws UsageError for a stride shorter than a frame, or without overlap between windows
    static WindowShape of(const Manifest& manifest, std::optional<double> stride_s = std::nullopt);

    bool operator==(const WindowShape&) const = default;
};

/// A part of a clip that the model hears at once.
struct Window {
    std::int64_t first = 0;  ///< frame of the clip
    std::int64_t frames = 0;
    std::int64_t repeated = 0;  ///< frames shared with the window before, which are given

    std::int64_t end() const { return first + frames; }
};

/// The windows of a clip of N frames, as in audiocraft (extend_stride). With length 5, stride 3, N 9:
///
///     frame      0 1 2 3 4 5 6 7 8
///     window 0   * * * * *
///     window 1         . . * * *        (. repeated, * new)
///     window 2               . . *
std::vector<Window> windows_of(std::int64_t num_frames, const WindowShape& shape);

}  // namespace musicsteer
