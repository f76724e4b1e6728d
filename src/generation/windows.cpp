#include "generation/windows.hpp"

#include <algorithm>
#include <cmath>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kDefaultStride = 0.6;  // share of the window's length

}  // namespace

WindowShape WindowShape::of(const Manifest& manifest, std::optional<double> stride_s) {
    WindowShape shape;
    shape.length = std::clamp<std::int64_t>(manifest.frames_of(manifest.window_s), 1, manifest.max_frames());
    const double frames = kDefaultStride * static_cast<double>(shape.length);
    shape.stride = stride_s ? manifest.frames_of(*stride_s)
                            : std::max<std::int64_t>(1, static_cast<std::int64_t>(std::llround(frames)));
    if (stride_s && (shape.stride < 1 || shape.stride >= shape.length)) {
        throw UsageError("the stride must be at least a frame and shorter than the model's window of " +
                         to_text(static_cast<double>(shape.length) / manifest.codec.frame_rate_hz) +
                         " s, because a window hears only what it shares with the one before");
    }
    return shape;
}

std::vector<Window> windows_of(std::int64_t num_frames, const WindowShape& shape) {
    std::vector<Window> windows = {{0, std::min(num_frames, shape.length), 0}};
    while (windows.back().end() < num_frames) {
        const Window& last = windows.back();
        const std::int64_t first = last.first + shape.stride;
        windows.push_back({first, std::min(shape.length, num_frames - first), last.end() - first});
    }
    return windows;
}

}  // namespace musicsteer
