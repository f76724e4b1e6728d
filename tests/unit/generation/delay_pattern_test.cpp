#include "generation/delay_pattern.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::integers;

constexpr std::int64_t kStart = 99;
const std::vector<std::int64_t> kMono = {0, 1, 2, 3};
const std::vector<std::int64_t> kStereo = {0, 0, 1, 1, 2, 2, 3, 3};

/// Codes [rows, K, frames] that are all different: 0, 1, 2, ...
at::Tensor counted_codes(std::int64_t rows, std::int64_t books, std::int64_t frames) {
    return at::arange(rows * books * frames, at::kLong).view({rows, books, frames});
}

TEST(DelayPattern, DrawsTheGridOfTheHeader) {
    const DelayPattern pattern(kMono, kStart, 3);
    EXPECT_EQ(pattern.num_frames(), 3);
    EXPECT_EQ(pattern.num_positions(), 6);
    const at::Tensor sequence = pattern.delay(counted_codes(1, 4, 3));
    ASSERT_EQ(sequence.sizes(), (std::vector<std::int64_t>{1, 4, 7}));
    constexpr std::int64_t S = kStart;
    EXPECT_THAT(integers(sequence[0][0]), ElementsAre(S, 0, 1, 2, S, S, S));
    EXPECT_THAT(integers(sequence[0][1]), ElementsAre(S, S, 3, 4, 5, S, S));
    EXPECT_THAT(integers(sequence[0][2]), ElementsAre(S, S, S, 6, 7, 8, S));
    EXPECT_THAT(integers(sequence[0][3]), ElementsAre(S, S, S, S, 9, 10, 11));
}

TEST(DelayPattern, StereoPairsShareADelay) {
    const DelayPattern pattern(kStereo, kStart, 2);
    EXPECT_EQ(pattern.num_positions(), 5);
    const at::Tensor sequence = pattern.delay(counted_codes(1, 8, 2));
    constexpr std::int64_t S = kStart;
    EXPECT_THAT(integers(sequence[0][2]), ElementsAre(S, S, 4, 5, S, S));
    EXPECT_THAT(integers(sequence[0][3]), ElementsAre(S, S, 6, 7, S, S));
    EXPECT_THAT(integers(sequence[0][7]), ElementsAre(S, S, S, S, 14, 15));
}

TEST(DelayPattern, FewerGivenFramesLeaveTheRestOpen) {
    const DelayPattern pattern(kMono, kStart, 3);
    const at::Tensor sequence = pattern.delay(counted_codes(2, 4, 1));
    constexpr std::int64_t S = kStart;
    EXPECT_THAT(integers(sequence[0][0]), ElementsAre(S, 0, S, S, S, S, S));
    EXPECT_THAT(integers(sequence[1][3]), ElementsAre(S, S, S, S, 7, S, S));
    EXPECT_TRUE(pattern.delay(at::empty({2, 4, 0}, at::kLong)).eq(kStart).all().item<bool>());
}

TEST(DelayPattern, PositionPredictsTheFrameOfTheNextColumn) {
    const DelayPattern pattern(kMono, kStart, 3);
    std::vector<std::int64_t> first_book, last_book;
    for (std::int64_t position = 0; position < pattern.num_positions(); ++position) {
        first_book.push_back(pattern.frame_at(position, 0));
        last_book.push_back(pattern.frame_at(position, 3));
    }
    EXPECT_THAT(first_book, ElementsAre(0, 1, 2, -1, -1, -1));
    EXPECT_THAT(last_book, ElementsAre(-1, -1, -1, 0, 1, 2));

    const at::Tensor codes = counted_codes(1, 4, 3);
    const at::Tensor sequence = pattern.delay(codes);
    for (std::int64_t position = 0; position < pattern.num_positions(); ++position) {
        for (std::int64_t k = 0; k < 4; ++k) {
            const std::int64_t frame = pattern.frame_at(position, k);
            const std::int64_t expected = frame < 0 ? kStart : codes[0][k][frame].item<std::int64_t>();
            EXPECT_EQ(sequence[0][k][position + 1].item<std::int64_t>(), expected) << position << ", " << k;
        }
    }
}

TEST(DelayPattern, DelaysNeedNotStartAtZeroNorAscend) {
    const DelayPattern pattern(std::vector<std::int64_t>{2, 0, 1}, kStart, 1);
    EXPECT_EQ(pattern.num_positions(), 3);
    const at::Tensor sequence = pattern.delay(counted_codes(1, 3, 1));
    constexpr std::int64_t S = kStart;
    EXPECT_THAT(integers(sequence), ElementsAre(S, S, S, 0, S, 1, S, S, S, S, 2, S));
}

struct RoundTripCase {
    std::vector<std::int64_t> delays;
    std::int64_t frames;
};

class DelayRoundTrip : public testing::TestWithParam<RoundTripCase> {};

TEST_P(DelayRoundTrip, UndelayInvertsDelay) {
    const auto& [delays, frames] = GetParam();
    const DelayPattern pattern(delays, kStart, frames);
    const at::Tensor codes = counted_codes(3, static_cast<std::int64_t>(delays.size()), frames);
    const at::Tensor sequence = pattern.delay(codes);
    EXPECT_EQ(sequence.size(2), pattern.num_positions() + 1);
    EXPECT_TRUE(at::equal(pattern.undelay(sequence), codes));
}

INSTANTIATE_TEST_SUITE_P(Patterns, DelayRoundTrip,
                         testing::Values(RoundTripCase{{0}, 1}, RoundTripCase{{0}, 5},
                                         RoundTripCase{kMono, 1}, RoundTripCase{kMono, 3},
                                         RoundTripCase{kMono, 50}, RoundTripCase{kStereo, 1},
                                         RoundTripCase{kStereo, 7}));

TEST(DelayPattern, OneFrameIsThatOfAll) {
    const DelayPattern pattern(kMono, kStart, 3);
    const at::Tensor codes = counted_codes(2, 4, 3);
    const at::Tensor sequence = pattern.delay(codes);
    for (std::int64_t frame = 0; frame < 3; ++frame)
        EXPECT_TRUE(at::equal(pattern.frame(sequence, frame), codes.select(2, frame)));
}

TEST(DelayPattern, UndelayGivesACopy) {
    const DelayPattern pattern(kMono, kStart, 2);
    at::Tensor sequence = pattern.delay(counted_codes(1, 4, 2));
    const at::Tensor codes = pattern.undelay(sequence);
    sequence.zero_();
    EXPECT_TRUE(at::equal(codes, counted_codes(1, 4, 2)));
}

TEST(DelayPattern, RejectsOtherShapes) {
    const DelayPattern pattern(kMono, kStart, 3);
    EXPECT_THAT([&] { pattern.delay(counted_codes(1, 3, 3)); },
                ThrowsMessage<ModelError>(
                    StrEq("[delay_pattern codes] expected [any, 4, any] but received [1, 3, 3]")));
    EXPECT_THAT([&] { pattern.undelay(counted_codes(1, 4, 6)); },
                ThrowsMessage<ModelError>(
                    StrEq("[delay_pattern sequence] expected [any, 4, 7] but received [1, 4, 6]")));
}

TEST(DelayPattern, RejectsMoreFramesThanTheClipHas) {
    const DelayPattern pattern(kMono, kStart, 3);
    EXPECT_THAT([&] { pattern.delay(counted_codes(1, 4, 4)); },
                ThrowsMessage<UsageError>(StrEq("4 frames of codes are given, but the clip has 3")));
}

}  // namespace
}  // namespace musicsteer
