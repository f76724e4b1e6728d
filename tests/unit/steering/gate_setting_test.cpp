#include "musicsteer/gate_setting.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "generation/injection.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {
namespace {

using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

VectorFile directions() {
    VectorFile file;
    file.directions["decoder.0.resid_post"] = at::tensor({3.0f, 4.0f});
    file.directions["decoder.1.resid_post"] = at::tensor({0.0f, 0.0f});
    return file;
}

TEST(Gate, IsParsed) {
    const GateSetting below = GateSetting::parse("some@where/t.safetensors@decoder.12.resid_post<0.3");
    EXPECT_EQ(below.file, "some@where/t.safetensors");
    EXPECT_EQ(below.point_name, "decoder.12.resid_post");
    EXPECT_TRUE(below.below);
    EXPECT_EQ(below.threshold, 0.3);
    EXPECT_EQ(below.condition(), "decoder.12.resid_post<0.3");
    const GateSetting above = GateSetting::parse("t.safetensors", "decoder.embed>-1");
    EXPECT_FALSE(above.below);
    EXPECT_EQ(above.condition(), "decoder.embed>-1");
}

TEST(Gate, Malformed) {
    for (const std::string text :
         {"", "t.safetensors", "t@decoder.0.resid_post", "t@<0.3", "@decoder.embed<0.3", "decoder.embed<0.3",
          "t@decoder.embed<", "t@decoder.embed<x", "t@decoder.embed<nan", "t@decoder.embed<0.3>0.1",
          "t@decoder.embed=0.3"}) {
        EXPECT_THAT([&] { GateSetting::parse(text); },
                    ThrowsMessage<UsageError>(HasSubstr("expected FILE@HOOK_POINT<COSINE")))
            << text;
    }
    EXPECT_THAT(
        [] { GateSetting::parse("t@decoder.embed<1.5"); },
        ThrowsMessage<UsageError>(StrEq("gate 'decoder.embed<1.5': the cosine must be between -1 and 1")));
}

TEST(Gate, TakesItsDirection) {
    const Gate gate =
        GateSetting::parse("t.safetensors@decoder.0.resid_post>0").with_direction(directions(), 2);
    EXPECT_EQ(gate.point, HookPoint::at(0, Site::kResidPost));
    EXPECT_TRUE(at::equal(gate.direction, at::tensor({3.0f, 4.0f})));
}

TEST(Gate, DirectionThatIsNotThereOrZero) {
    const auto take = [](const std::string& text) {
        GateSetting::parse(text).with_direction(directions(), 2);
    };
    EXPECT_THAT([&] { take("t@decoder.1.mlp_out<0"); },
                ThrowsMessage<UsageError>(StrEq("gate decoder.1.mlp_out<0: t has no direction there (it has "
                                                "decoder.0.resid_post, decoder.1.resid_post)")));
    EXPECT_THAT(
        [&] { take("t@decoder.1.resid_post<0"); },
        ThrowsMessage<UsageError>(StrEq("gate decoder.1.resid_post<0: the direction of t there is zero")));
    EXPECT_THAT([&] { take("t@decoder.2.resid_post<0"); },
                ThrowsMessage<UsageError>(HasSubstr("the model has layers 0 to 1")));
    EXPECT_THAT([&] { take("t@decoder.1.resid_pots<0"); },
                ThrowsMessage<UsageError>(HasSubstr("did you mean 'decoder.1.resid_post'?")));
}

TEST(HookPoints, RunInOrder) {
    const std::vector<HookPoint> points = HookPoint::all(3);
    for (std::size_t i = 0; i < points.size(); ++i) {
        for (std::size_t j = 0; j < points.size(); ++j)
            EXPECT_EQ(points[i] < points[j], i < j) << points[i].name() << " " << points[j].name();
    }
}

}  // namespace
}  // namespace musicsteer
