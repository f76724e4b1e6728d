#include "model/script_call.hpp"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

#include "model/memory.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::StrEq;
using testing::ThrowsMessage;

template <typename Thrown>
auto throwing(Thrown thrown) {
    return [thrown] { with_our_errors("codec", [&]() -> int { throw thrown; }); };
}

TEST(OurErrors, OursStayAsTheyAre) {
    EXPECT_THAT(throwing(InputError("a file")), ThrowsMessage<InputError>(StrEq("a file")));
    EXPECT_THAT(throwing(Interrupted("interrupted")), ThrowsMessage<Interrupted>(StrEq("interrupted")));
    EXPECT_EQ(with_our_errors("codec", [] { return 7; }), 7);
}

TEST(OurErrors, WhereMemoryGaveOutItIsOneSentence) {
    const std::string allocator =
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        "to allocate 2048256 bytes. Error code 12 (Cannot allocate memory)";
    const auto is_memory = ThrowsMessage<ResourceError>(StrEq(kOutOfMemory));
    EXPECT_THAT(throwing(std::bad_alloc()), is_memory);
    EXPECT_THAT(throwing(c10::Error({}, allocator)), is_memory);
    EXPECT_THAT(throwing(std::runtime_error("The following operation failed in the TorchScript interpreter.\n"
                                            "RuntimeError: std::bad_alloc")),
                is_memory);
}

TEST(OurErrors, OfTheRestTheFirstCauseInOneLine) {
    EXPECT_THAT(throwing(c10::Error({}, "sizes differ\nand more")),
                ThrowsMessage<ModelError>(StrEq("codec failed: sizes differ")));
    EXPECT_THAT(
        throwing(std::runtime_error("Traceback of TorchScript\n  x = y\nRuntimeError: no such thing\n")),
        ThrowsMessage<ModelError>(StrEq("codec failed: no such thing")));
}

}  // namespace
}  // namespace musicsteer
