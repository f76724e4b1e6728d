#include "generation/windows.hpp"

#include <gtest/gtest.h>

#include <array>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

std::vector<std::array<std::int64_t, 3>> plain(const std::vector<Window>& windows) {
    std::vector<std::array<std::int64_t, 3>> result;
    for (const Window& window : windows) result.push_back({window.first, window.frames, window.repeated});
    return result;
}

TEST(Windows, AShortClipIsOne) {
    for (const std::int64_t frames : {1, 4, 5})
        EXPECT_EQ(plain(windows_of(frames, {5, 3})),
                  (std::vector<std::array<std::int64_t, 3>>{{0, frames, 0}}));
}

TEST(Windows, EachGoesOnFromTheOneBefore) {
    EXPECT_EQ(plain(windows_of(9, {5, 3})),
              (std::vector<std::array<std::int64_t, 3>>{{0, 5, 0}, {3, 5, 2}, {6, 3, 2}}));
    EXPECT_EQ(plain(windows_of(6, {5, 3})), (std::vector<std::array<std::int64_t, 3>>{{0, 5, 0}, {3, 3, 2}}));
}

TEST(Windows, CoverEachFrameOnce) {
    for (std::int64_t stride = 1; stride < 7; ++stride) {
        for (std::int64_t frames = 1; frames < 40; ++frames) {
            std::int64_t covered = 0;
            for (const Window& window : windows_of(frames, {7, stride})) {
                EXPECT_EQ(window.first + window.repeated, covered);
                EXPECT_LE(window.frames, 7);
                covered = window.end();
            }
            EXPECT_EQ(covered, frames);
        }
    }
}

Manifest model(double window_s, std::int64_t positions) {
    Manifest manifest;
    manifest.codec.frame_rate_hz = 50;
    manifest.window_s = window_s;
    manifest.decoder.max_positions = positions;
    manifest.decoder.delays = {0, 1, 2, 3};
    return manifest;
}

TEST(Windows, TheModelsAre18Of30Seconds) {
    EXPECT_EQ(WindowShape::of(model(30, 2048)), (WindowShape{1500, 900}));
    EXPECT_EQ(WindowShape::of(model(8, 2048)), (WindowShape{400, 240}));
    EXPECT_EQ(WindowShape::of(model(30, 2048), 10.0), (WindowShape{1500, 500}));
}

TEST(Windows, FitTheModelsPositions) {
    EXPECT_EQ(WindowShape::of(model(30, 1003)), (WindowShape{1000, 600}));
}

TEST(Windows, AStrideLeavesSomethingToGoOnFrom) {
    for (const double stride_s : {0.0, 30.0, 31.0})
        EXPECT_THROW(WindowShape::of(model(30, 2048), stride_s), UsageError) << stride_s;
}

}  // namespace
}  // namespace musicsteer
