#include "base/logging.hpp"

#include <gtest/gtest.h>

namespace musicsteer {
namespace {

std::string logged_at(LogLevel level) {
    testing::internal::CaptureStderr();
    set_log_level(level);
    log_debug("a {} detail");
    log_info("a {0} fact");
    log_warn("{not a format");
    set_log_level(LogLevel::kInfo);
    return testing::internal::GetCapturedStderr();
}

TEST(Logging, WritesWhatTheLevelLetsThroughPlainly) {
    EXPECT_EQ(logged_at(LogLevel::kDebug), "debug: a {} detail\ninfo: a {0} fact\nwarning: {not a format\n");
    EXPECT_EQ(logged_at(LogLevel::kInfo), "info: a {0} fact\nwarning: {not a format\n");
    EXPECT_EQ(logged_at(LogLevel::kWarn), "warning: {not a format\n");
    EXPECT_EQ(logged_at(LogLevel::kError), "");
    EXPECT_EQ(logged_at(LogLevel::kOff), "");
}

}  // namespace
}  // namespace musicsteer
