#include "io/sha256.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// The examples of FIPS 180-2, appendix B.
constexpr const char* kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kOfMillionA = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, KnownTexts) {
    EXPECT_EQ(sha256_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(sha256_of("abc"), kOfAbc);
    EXPECT_EQ(sha256_of(std::string(1'000'000, 'a')), kOfMillionA);
}

TEST(Sha256, OfAFile) {
    const TempFolder folder;
    EXPECT_EQ(sha256_of_file(write_bytes(folder / "abc", "abc")), kOfAbc);
    EXPECT_EQ(sha256_of_file(write_bytes(folder / "a", std::string(1'000'000, 'a'))), kOfMillionA);
    EXPECT_EQ(sha256_of_file(write_bytes(folder / "empty", "")), sha256_of(""));
}

TEST(Sha256, OfAFileLongerThanABlock) {
    const TempFolder folder;
    std::string bytes(3'000'001, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 % 251);
    EXPECT_EQ(sha256_of_file(write_bytes(folder / "long", bytes)), sha256_of(bytes));
}

TEST(Sha256, RefusesWhatCannotBeRead) {
    const TempFolder folder;
    EXPECT_THAT([&] { sha256_of_file(folder / "none"); },
                ThrowsMessage<InputError>((folder / "none").string() +
                                          ": cannot be read: No such file or directory"));
    EXPECT_THAT([&] { sha256_of_file(folder.path()); },
                ThrowsMessage<InputError>(HasSubstr(": expected a file, found a folder")));
}

}  // namespace
}  // namespace musicsteer
