#include "model/hooks.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StrEq;
using testing::ThrowsMessage;

TEST(Site, NamesInOrderOfExecution) {
    std::vector<std::string> names;
    for (int site = 0; site < kSitesPerLayer; ++site) names.push_back(to_text(static_cast<Site>(site)));
    EXPECT_THAT(names, ElementsAre("resid_pre", "self_attn_heads", "self_attn_out", "resid_post_self",
                                   "cross_attn_out", "resid_post_cross", "mlp_out", "resid_post"));
    for (const std::string& name : names) EXPECT_EQ(to_text(parse_site(name)), name);
}

TEST(Site, UnknownNameGetsTheNearestOne) {
    EXPECT_THAT([] { parse_site("resid_pst"); },
                ThrowsMessage<UsageError>(StrEq("unknown site 'resid_pst', did you mean 'resid_post'?")));
    EXPECT_THAT([] { parse_site("xyzzy"); }, ThrowsMessage<UsageError>(StrEq("unknown site 'xyzzy'")));
    EXPECT_THROW(parse_site(""), UsageError);
}

TEST(Site, MessageStaysOnOneLine) {
    EXPECT_THAT([] { parse_site("a\nb"); }, ThrowsMessage<UsageError>(StrEq("unknown site 'a\\x0ab'")));
}

TEST(HookPoint, AllAreListedInOrderOfExecution) {
    const std::vector<HookPoint> points = HookPoint::all(2);
    std::vector<std::string> names;
    for (const HookPoint& point : points) names.push_back(point.name());
    EXPECT_THAT(
        names,
        ElementsAre("decoder.embed", "decoder.0.resid_pre", "decoder.0.self_attn_heads",
                    "decoder.0.self_attn_out", "decoder.0.resid_post_self", "decoder.0.cross_attn_out",
                    "decoder.0.resid_post_cross", "decoder.0.mlp_out", "decoder.0.resid_post",
                    "decoder.1.resid_pre", "decoder.1.self_attn_heads", "decoder.1.self_attn_out",
                    "decoder.1.resid_post_self", "decoder.1.cross_attn_out", "decoder.1.resid_post_cross",
                    "decoder.1.mlp_out", "decoder.1.resid_post", "decoder.final_norm"));
    for (std::size_t i = 0; i < points.size(); ++i) EXPECT_EQ(points[i].index(2), i) << names[i];
}

TEST(HookPoint, ParseInvertsName) {
    for (const HookPoint& point : HookPoint::all(12)) EXPECT_EQ(HookPoint::parse(point.name(), 12), point);
}

TEST(HookPoint, KnowsItsLayer) {
    const HookPoint point = HookPoint::at(11, Site::kMlpOut);
    EXPECT_TRUE(point.is_layer());
    EXPECT_EQ(point.layer(), 11);
    EXPECT_EQ(point.site(), Site::kMlpOut);
    EXPECT_EQ(point.name(), "decoder.11.mlp_out");
    EXPECT_FALSE(HookPoint::embed().is_layer());
    EXPECT_FALSE(HookPoint::final_norm().is_layer());
}

TEST(HookPoint, NegativeLayerIsNotAnotherPoint) {
    EXPECT_THAT([] { HookPoint::at(-1, Site::kResidPre); },
                ThrowsMessage<UsageError>(StrEq("layers start at 0, there is no layer -1")));
    EXPECT_THROW(HookPoint::at(-2, Site::kResidPost), UsageError);
}

TEST(HookPoint, LayerThatTheModelLacksGetsTheLayersItHas) {
    EXPECT_THAT([] { HookPoint::parse("decoder.2.resid_post", 2); },
                ThrowsMessage<UsageError>(
                    StrEq("unknown hook point 'decoder.2.resid_post': the model has layers 0 to 1")));
}

TEST(HookPoint, UnknownNameGetsTheNearestOne) {
    EXPECT_THAT([] { HookPoint::parse("decoder.0.resid_pots", 2); },
                ThrowsMessage<UsageError>(StrEq(
                    "unknown hook point 'decoder.0.resid_pots', did you mean 'decoder.0.resid_post'?")));
    EXPECT_THAT([] { HookPoint::parse("nonsense", 2); },
                ThrowsMessage<UsageError>(StrEq("unknown hook point 'nonsense'")));
}

TEST(HookPoint, MalformedNamesAreUnknown) {
    for (const char* name : {"", "decoder", "decoder.", "decoder.0", "decoder.0.", "decoder..resid_pre",
                             "decoder.-1.resid_pre", "decoder.00.resid_pre", "decoder.+0.resid_pre",
                             "decoder.99999999999999999999.mlp_out", "Decoder.0.mlp_out",
                             "decoder.0.mlp_out ", "decoder.0x.mlp_out", "decoder.2", "encoder.0.mlp_out"}) {
        EXPECT_THROW(HookPoint::parse(name, 2), UsageError) << name;
    }
}

/// A registry of a two-layer decoder, and one place in it to fire at.
class HookRegistryTest : public testing::Test {
  protected:
    float fire(const HookPoint& point) {
        HookContext context;
        context.point = point;
        return registry_->fire(at::ones({1}), context).item<float>();
    }
    float fire() { return fire(point_); }

    HookHandle edit(float factor, float summand) {
        return registry_->edit(point_,
                               [=](const at::Tensor& x, const HookContext&) { return x * factor + summand; });
    }

    std::optional<HookRegistry> registry_{2};
    HookPoint point_ = HookPoint::at(1, Site::kMlpOut);
};

TEST_F(HookRegistryTest, WithoutHooksTheVeryTensorComesBack) {
    const at::Tensor activation = at::ones({1});
    EXPECT_TRUE(registry_->fire(activation, {}).is_same(activation));
    EXPECT_EQ(registry_->num_layers(), 2);
}

TEST_F(HookRegistryTest, EditsRunInTheOrderTheyWereAdded) {
    const HookHandle first = edit(2, 0);
    const HookHandle second = edit(1, 5);
    EXPECT_EQ(fire(), 1 * 2 + 5);  // not (1 + 5) * 2
}

TEST_F(HookRegistryTest, ObserversSeeEditedValuesWheneverTheyWereAdded) {
    std::vector<std::pair<char, float>> seen;
    const auto observer = [&](char name) {
        return registry_->observe(point_, [&seen, name](const at::Tensor& x, const HookContext&) {
            seen.emplace_back(name, x.item<float>());
        });
    };
    const HookHandle before = observer('a');
    const HookHandle first = edit(3, 0);
    const HookHandle second = edit(1, 1);
    const HookHandle after = observer('b');
    EXPECT_EQ(fire(), 4);
    EXPECT_THAT(seen, ElementsAre(std::pair('a', 4.0f), std::pair('b', 4.0f)));
}

TEST_F(HookRegistryTest, HooksFireAtTheirOwnPointOnly) {
    const HookHandle handle = edit(2, 0);
    for (const HookPoint& point : HookPoint::all(2))
        EXPECT_EQ(fire(point), point == point_ ? 2 : 1) << point.name();
}

TEST_F(HookRegistryTest, EveryPointCanBeHooked) {
    for (const HookPoint& point : HookPoint::all(2)) {
        const HookHandle handle =
            registry_->edit(point, [](const at::Tensor& x, const HookContext&) { return x * 7; });
        EXPECT_EQ(fire(point), 7) << point.name();
    }
}

TEST_F(HookRegistryTest, HooksAreToldTheContext) {
    const std::vector<Row> rows = {{4, RowRole::kConditional}, {4, RowRole::kNull}};
    HookContext context;
    context.point = point_;
    context.position = 17;
    context.columns = 3;
    context.num_frames = 50;
    context.rows = rows;
    bool called = false;
    const HookHandle handle = registry_->observe(point_, [&](const at::Tensor&, const HookContext& told) {
        called = true;
        EXPECT_EQ(told.point, point_);
        EXPECT_EQ(told.position, 17);
        EXPECT_EQ(told.columns, 3);
        EXPECT_EQ(told.num_frames, 50);
        ASSERT_EQ(told.rows.size(), 2u);
        EXPECT_EQ(told.rows[1].request, 4);
        EXPECT_EQ(told.rows[1].role, RowRole::kNull);
    });
    (void)registry_->fire(at::ones({1}), context);
    EXPECT_TRUE(called);
}

TEST_F(HookRegistryTest, ScopeExitRemoves) {
    {
        const HookHandle handle = edit(2, 0);
        EXPECT_EQ(fire(), 2);
    }
    EXPECT_EQ(fire(), 1);
}

TEST_F(HookRegistryTest, RemovingTwiceIsHarmless) {
    HookHandle handle = edit(2, 0);
    const HookHandle other = edit(1, 10);
    handle.remove();
    handle.remove();
    EXPECT_EQ(fire(), 11);
}

TEST_F(HookRegistryTest, RemovingOneKeepsTheOrderOfTheOthers) {
    const HookHandle first = edit(2, 0);
    HookHandle second = edit(1, 100);
    const HookHandle third = edit(1, 1);
    second.remove();
    EXPECT_EQ(fire(), 3);
}

TEST_F(HookRegistryTest, MovedHandleKeepsTheHook) {
    std::optional<HookHandle> first(edit(2, 0));
    HookHandle second(std::move(*first));
    first.reset();
    EXPECT_EQ(fire(), 2);
    second.remove();
    EXPECT_EQ(fire(), 1);
}

TEST_F(HookRegistryTest, MoveAssignmentRemovesWhatTheTargetHeld) {
    HookHandle handle = edit(2, 0);
    handle = edit(1, 10);
    EXPECT_EQ(fire(), 11);
    handle = HookHandle();
    EXPECT_EQ(fire(), 1);
}

TEST_F(HookRegistryTest, MoveToItselfKeepsTheHook) {
    HookHandle handle = edit(2, 0);
    HookHandle& same = handle;
    handle = std::move(same);
    EXPECT_EQ(fire(), 2);
}

TEST_F(HookRegistryTest, HandleMayOutliveTheRegistry) {
    HookHandle handle = edit(2, 0);
    registry_.reset();
    handle.remove();  // and once more on destruction
    HookHandle moved(std::move(handle));
}

TEST_F(HookRegistryTest, HookMayRemoveItselfAndOthersWhileItRuns) {
    std::vector<int> calls;
    std::vector<HookHandle> handles;
    for (int i = 0; i < 3; ++i) {
        handles.push_back(
            registry_->observe(point_, [&calls, &handles, i](const at::Tensor&, const HookContext&) {
                if (i == 0) handles.clear();  // removes all three, this one included
                calls.push_back(i);
            }));
    }
    fire();
    EXPECT_THAT(calls, ElementsAre(0, 1, 2));  // the round that has begun is finished
    calls.clear();
    fire();
    EXPECT_THAT(calls, IsEmpty());
}

TEST_F(HookRegistryTest, HookAddedByAHookFiresFromTheNextTimeOn) {
    std::vector<HookHandle> added;
    const HookHandle handle = registry_->edit(point_, [&](const at::Tensor& x, const HookContext&) {
        if (added.empty()) {
            for (int i = 0; i < 8; ++i) added.push_back(edit(1, 1));
        }
        return x * 2;
    });
    EXPECT_EQ(fire(), 2);
    EXPECT_EQ(fire(), 10);
}

TEST_F(HookRegistryTest, WhatAHookThrowsReachesTheCaller) {
    const HookHandle handle = registry_->observe(
        point_, [](const at::Tensor&, const HookContext&) { throw std::runtime_error("from the hook"); });
    EXPECT_THAT([&] { fire(); }, ThrowsMessage<std::runtime_error>(StrEq("from the hook")));
    EXPECT_EQ(fire(HookPoint::embed()), 1);
}

TEST_F(HookRegistryTest, LayerThatTheModelLacksIsRejected) {
    point_ = HookPoint::at(2, Site::kResidPre);
    EXPECT_THAT(
        [&] { edit(1, 0); },
        ThrowsMessage<UsageError>(StrEq("no hook point 'decoder.2.resid_pre': the model has layers 0 to 1")));
    EXPECT_THROW((void)registry_->observe(point_, [](const at::Tensor&, const HookContext&) {}), UsageError);
}

}  // namespace
}  // namespace musicsteer
