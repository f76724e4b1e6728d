#include "base/shapes.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::StrEq;
using testing::ThrowsMessage;

TEST(CheckShape, AcceptsTheShapeAndAnySizes) {
    const at::Tensor tensor = at::zeros({2, 3, 0});
    EXPECT_NO_THROW(check_shape(tensor, {2, 3, 0}, "here"));
    EXPECT_NO_THROW(check_shape(tensor, {kAnySize, 3, kAnySize}, "here"));
    EXPECT_NO_THROW(check_shape(at::scalar_tensor(1.0), {}, "here"));
}

TEST(CheckShape, SaysWhereWhatWasExpectedAndWhatCame) {
    EXPECT_THAT(
        [] {
            check_shape(at::zeros({2, 3, 7}), {2, 4, kAnySize}, "decoder");
        },
        ThrowsMessage<ModelError>(StrEq("[decoder] expected [2, 4, any] but received [2, 3, 7]")));
}

TEST(CheckShape, RejectsMoreOrFewerAxes) {
    EXPECT_THAT(
        [] {
            check_shape(at::zeros({2}), {2, kAnySize}, "here");
        },
        ThrowsMessage<ModelError>(StrEq("[here] expected [2, any] but received [2]")));
    EXPECT_THAT(
        [] {
            check_shape(at::zeros({2, 1}), {2}, "here");
        },
        ThrowsMessage<ModelError>(StrEq("[here] expected [2] but received [2, 1]")));
    EXPECT_THAT([] { check_shape(at::scalar_tensor(1.0), {kAnySize}, "here"); },
                ThrowsMessage<ModelError>(StrEq("[here] expected [any] but received []")));
}

TEST(CheckShape, RejectsAnUndefinedTensor) {
    EXPECT_THAT([] { check_shape(at::Tensor(), {2}, "here"); },
                ThrowsMessage<ModelError>(StrEq("[here] expected [2] but received nothing")));
    EXPECT_THROW(check_shape(at::Tensor(), {}, "here"), ModelError);
}

}  // namespace
}  // namespace musicsteer
