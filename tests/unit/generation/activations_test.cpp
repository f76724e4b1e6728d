#include "generation/activations.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {

bool operator==(const PositionRange& a, const PositionRange& b) {
    return a.first == b.first && a.last == b.last;
}
void PrintTo(const PositionRange& range, std::ostream* out) {
    *out << "[" << range.first << ", " << range.last << ")";
}

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::floats;

const HookPoint kFirstPoint = HookPoint::at(0, Site::kResidPost);

TEST(RecordedRows, NamesGoBothWays) {
    for (const std::string name : {"conditional", "both"})
        EXPECT_EQ(to_text(parse_recorded_rows(name)), name);
    EXPECT_THAT([] { parse_recorded_rows("bth"); },
                ThrowsMessage<UsageError>(StrEq("unknown rows 'bth' (known: conditional, both)")));
}

TEST(ParsePositions, Words) {
    EXPECT_EQ(parse_positions("generated", 500, 50.0), (PositionRange{0, 500}));
    EXPECT_EQ(parse_positions("last", 500, 50.0), (PositionRange{499, 500}));
    EXPECT_EQ(parse_positions("last", 1, 50.0), (PositionRange{0, 1}));
}

TEST(ParsePositions, WindowsAreInSeconds) {
    EXPECT_EQ(parse_positions("window:2-5.5", 500, 50.0), (PositionRange{100, 275}));
    EXPECT_EQ(parse_positions("window:0-0.02", 500, 50.0), (PositionRange{0, 1}));
    EXPECT_EQ(parse_positions("window:.5-1e0", 500, 50.0), (PositionRange{25, 50}));
    EXPECT_EQ(parse_positions("window:0.013-0.027", 500, 100.0),
              (PositionRange{1, 3}));  // 1.3 and 2.7 frames
}

TEST(ParsePositions, WindowsEndWithTheClip) {
    EXPECT_EQ(parse_positions("window:9-11", 500, 50.0), (PositionRange{450, 500}));
    EXPECT_EQ(parse_positions("window:0-1e30", 500, 50.0), (PositionRange{0, 500}));
    EXPECT_EQ(parse_positions("window:0-99999999999999999999", 500, 50.0), (PositionRange{0, 500}));
}

TEST(ParsePositions, EmptyWindows) {
    for (const std::string text :
         {"window:3-3", "window:5-2", "window:10-11", "window:20-30", "window:1e30-2e30", "window:1-1.001"}) {
        EXPECT_THAT([&] { parse_positions(text, 500, 50.0); },
                    ThrowsMessage<UsageError>(StrEq(
                        "positions '" + text + "': the window holds no frame of a clip of 10.000000 s")));
    }
}

TEST(ParsePositions, MalformedWindows) {
    for (const std::string text :
         {"window:",      "window:-",     "window:2",     "window:2-",      "window:-2",    "window:a-b",
          "window:2-b",   "window:2-3x",  "window:2-3-4", "window:2,3",     "window:2 - 3", "window: 2-3",
          "window:2- 3",  "window:2-3 ",  "window:-1-2",  "window:2--3",    "window:+2-3",  "window:0x1-0x2",
          "window:nan-2", "window:0-nan", "window:0-inf", "window:0-1e999", "window:0:5"}) {
        EXPECT_THAT([&] { parse_positions(text, 500, 50.0); },
                    ThrowsMessage<UsageError>(StrEq("positions '" + text +
                                                    "': a window is written window:START-END in seconds, as "
                                                    "window:2-5.5")));
    }
}

TEST(ParsePositions, UnknownWords) {
    for (const std::string text : {"", "all", "Generated", "last ", "window", "window2-3", "0-5"}) {
        EXPECT_THAT(
            [&] { parse_positions(text, 500, 50.0); },
            ThrowsMessage<UsageError>(StrEq("unknown positions '" + text +
                                            "' (known: generated, last, window:START-END in seconds)")));
    }
    EXPECT_THAT([] { parse_positions("a\nb", 500, 50.0); },
                ThrowsMessage<UsageError>(HasSubstr("'a\\x0ab'")));
}

/// Feeds activations [B, T, ...] to a registry in chunks of `chunk` columns, as a session would.
void feed(const HookRegistry& hooks, const at::Tensor& activation, const std::vector<Row>& rows,
          std::int64_t chunk, const HookPoint& point = kFirstPoint) {
    HookContext context;
    context.point = point;
    context.rows = rows;
    for (std::int64_t position = 0; position < activation.size(1); position += chunk) {
        context.position = position;
        context.columns = std::min(chunk, activation.size(1) - position);
        (void)hooks.fire(activation.narrow(1, position, context.columns), context);
    }
}

const std::vector<Row> kOneRow = {{0, RowRole::kConditional}};

TEST(ActivationMeans, ByHand) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 2, {0, 2}, RecordedRows::kConditional);
    feed(hooks, at::tensor({3.0f, 4.0f, 0.0f, -1.0f}).view({1, 2, 2}), kOneRow, 1);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(1.5, 1.5));
    EXPECT_THAT(floats(means.mean_norm(kFirstPoint)), ElementsAre(3));  // of 5 and 1
    EXPECT_EQ(means.mean(kFirstPoint).sizes(), (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(means.mean(kFirstPoint).scalar_type(), at::kFloat);
}

TEST(ActivationMeans, OnlyPositionsInTheRangeCount) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 1, {1, 3}, RecordedRows::kConditional);
    feed(hooks, at::tensor({100.0f, 2.0f, 4.0f, 100.0f}).view({1, 4, 1}), kOneRow, 1);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(3));
}

TEST(ActivationMeans, ChunksCountLikeSingleColumnsAlsoAcrossTheBordersOfTheWindow) {
    const at::Tensor activation = (at::arange(2 * 12 * 3, at::kFloat) * 0.31f).sin().view({2, 12, 3});
    const std::vector<Row> rows = {{1, RowRole::kConditional}, {0, RowRole::kConditional}};
    for (const PositionRange range :
         {PositionRange{0, 12}, {3, 7}, {4, 8}, {5, 6}, {0, 1}, {11, 12}, {2, 11}}) {
        const at::Tensor window = activation.narrow(1, range.first, range.last - range.first).to(at::kDouble);
        const at::Tensor expected = window.mean(1).flip(0).to(at::kFloat);  // row 0 is request 1
        for (const std::int64_t chunk : {1, 2, 4, 5, 12}) {
            HookRegistry hooks(1);
            const ActivationMeans means(hooks, std::vector{kFirstPoint}, 2, 3, range,
                                        RecordedRows::kConditional);
            feed(hooks, activation, rows, chunk);
            EXPECT_TRUE(at::allclose(means.mean(kFirstPoint), expected, 1e-6, 1e-7))
                << range.first << ", " << chunk;
            EXPECT_TRUE(at::allclose(means.mean_norm(kFirstPoint),
                                     window.norm(2, {2}).mean(1).flip(0).to(at::kFloat)))
                << range.first << ", " << chunk;
        }
    }
}

TEST(ActivationMeans, NullRowsCountOnlyWhenBothAreAsked) {
    const std::vector<Row> rows = {
        {0, RowRole::kNull}, {1, RowRole::kConditional}, {0, RowRole::kConditional}, {1, RowRole::kNull}};
    const at::Tensor activation = at::tensor({10.0f, 2.0f, 1.0f, -20.0f}).view({4, 1, 1});
    const auto mean = [&](RecordedRows recorded) {
        HookRegistry hooks(1);
        const ActivationMeans means(hooks, std::vector{kFirstPoint}, 2, 1, {0, 1}, recorded);
        feed(hooks, activation, rows, 1);
        return floats(at::stack({means.mean(kFirstPoint).flatten(), means.mean_norm(kFirstPoint)}));
    };
    EXPECT_THAT(mean(RecordedRows::kConditional), ElementsAre(1, 2, 1, 2));
    EXPECT_THAT(mean(RecordedRows::kBoth), ElementsAre(5.5, -9, 5.5, 11));
}

TEST(ActivationMeans, OnlyNullRowsInAStepAddNothing) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 1, {0, 2}, RecordedRows::kConditional);
    feed(hooks, at::full({1, 1, 1}, 5.0f), {{0, RowRole::kNull}}, 1);
    feed(hooks, at::full({1, 1, 1}, 7.0f), kOneRow, 1);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(7));
}

TEST(ActivationMeans, SumsAreFloat64) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 1, {0, 1000}, RecordedRows::kConditional);
    at::Tensor activation = at::full({1, 1000, 1}, 0.5f);
    activation[0][0][0] = 1.0e9f;  // in float32 every further 0.5 would be lost
    feed(hooks, activation, kOneRow, 1);
    activation[0][0][0] = -1.0e9f;
    feed(hooks, activation, kOneRow, 1);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(999.0f / 2000.0f));
}

TEST(ActivationMeans, PointsAreKeptApart) {
    const HookPoint other = HookPoint::at(1, Site::kMlpOut);
    HookRegistry hooks(2);
    const ActivationMeans means(hooks, std::vector{kFirstPoint, other}, 1, 1, {0, 1},
                                RecordedRows::kConditional);
    feed(hooks, at::full({1, 1, 1}, 3.0f), kOneRow, 1);
    feed(hooks, at::full({1, 1, 1}, 4.0f), kOneRow, 1, other);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(3));
    EXPECT_THAT(floats(means.mean(other)), ElementsAre(4));
}

TEST(ActivationMeans, HeadsAreFlattened) {
    const HookPoint heads = HookPoint::at(0, Site::kSelfAttnHeads);
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{heads}, 1, 4, {0, 2}, RecordedRows::kConditional);
    // [1, 2, 2 heads, 2], laid out as attention leaves it: heads before columns.
    const at::Tensor activation = at::arange(8, at::kFloat).view({1, 2, 2, 2}).transpose(1, 2);
    feed(hooks, activation, kOneRow, 2, heads);
    EXPECT_THAT(floats(means.mean(heads)), ElementsAre(1, 2, 5, 6));
}

TEST(ActivationMeans, RecordsEditedValues) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 1, {0, 1}, RecordedRows::kConditional);
    const HookHandle edit =
        hooks.edit(kFirstPoint, [](const at::Tensor& x, const HookContext&) { return x + 1; });
    feed(hooks, at::full({1, 1, 1}, 3.0f), kOneRow, 1);
    EXPECT_THAT(floats(means.mean(kFirstPoint)), ElementsAre(4));
}

TEST(ActivationMeans, RequestThatWasNeverSeenHasNoMean) {
    HookRegistry hooks(1);
    const ActivationMeans means(hooks, std::vector{kFirstPoint}, 2, 1, {0, 1}, RecordedRows::kConditional);
    feed(hooks, at::full({1, 1, 1}, 3.0f), kOneRow, 1);
    EXPECT_TRUE(std::isnan(means.mean(kFirstPoint)[1].item<float>()));
    EXPECT_TRUE(std::isnan(means.mean_norm(kFirstPoint)[1].item<float>()));
}

TEST(ActivationMeans, StopsWhenItIsGone) {
    HookRegistry hooks(1);
    {
        const ActivationMeans means(hooks, std::vector{kFirstPoint}, 1, 1, {0, 1},
                                    RecordedRows::kConditional);
    }
    feed(hooks, at::full({1, 1, 1}, 3.0f), kOneRow, 1);
}

TEST(ActivationTape, KeepsColumnsInOrderWhateverTheChunks) {
    const at::Tensor activation = at::arange(2 * 7 * 3, at::kFloat).view({2, 7, 3});
    for (const std::int64_t chunk : {1, 3, 7}) {
        HookRegistry hooks(1);
        const ActivationTape tape(hooks, std::vector{kFirstPoint});
        feed(hooks, activation, {{0, RowRole::kConditional}, {0, RowRole::kNull}}, chunk);
        EXPECT_TRUE(at::equal(tape.activations(kFirstPoint, 7), activation)) << chunk;
        EXPECT_TRUE(at::equal(tape.activations(kFirstPoint, 5), activation.narrow(1, 0, 5))) << chunk;
    }
}

TEST(ActivationTape, KeepsCopies) {
    HookRegistry hooks(1);
    const ActivationTape tape(hooks, std::vector{kFirstPoint});
    at::Tensor activation = at::full({1, 1, 2}, 3.0f);
    feed(hooks, activation, kOneRow, 1);
    activation.zero_();  // the decoder's buffers are written again
    EXPECT_THAT(floats(tape.activations(kFirstPoint, 1)), ElementsAre(3, 3));
}

TEST(ActivationTape, HeadsAreFlattened) {
    const HookPoint heads = HookPoint::at(0, Site::kSelfAttnHeads);
    HookRegistry hooks(1);
    const ActivationTape tape(hooks, std::vector{heads});
    feed(hooks, at::arange(4, at::kFloat).view({1, 1, 2, 2}), kOneRow, 1, heads);
    EXPECT_EQ(tape.activations(heads, 1).sizes(), (std::vector<std::int64_t>{1, 1, 4}));
    EXPECT_THAT(floats(tape.activations(heads, 1)), ElementsAre(0, 1, 2, 3));
}

}  // namespace
}  // namespace musicsteer
