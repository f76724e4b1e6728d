#include "experiments/measure_target.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

TEST(MeasureTarget, IsAChangeOrAValue) {
    const MeasureTarget faster = MeasureTarget::parse("tempo=+20%");
    EXPECT_EQ(faster.measure, "tempo_bpm");
    EXPECT_TRUE(faster.is_relative);
    EXPECT_DOUBLE_EQ(faster.value, 0.2);
    EXPECT_EQ(faster.text, "tempo=+20%");
    EXPECT_DOUBLE_EQ(faster.wanted(110.0), 132.0);
    EXPECT_DOUBLE_EQ(faster.scale(110.0), 110.0);

    const MeasureTarget darker = MeasureTarget::parse("spectral_centroid_hz=-12.5%");
    EXPECT_DOUBLE_EQ(darker.wanted(1000.0), 875.0);

    const MeasureTarget value = MeasureTarget::parse("tempo_bpm=120");
    EXPECT_FALSE(value.is_relative);
    EXPECT_DOUBLE_EQ(value.wanted(90.0), 120.0);
}

TEST(MeasureTarget, DecibelsHaveAScaleOfTheirOwn) {
    const MeasureTarget louder = MeasureTarget::parse("loudness=-16");
    EXPECT_EQ(louder.measure, "loudness_lufs");
    EXPECT_DOUBLE_EQ(louder.wanted(-23.0), -16.0);
    EXPECT_DOUBLE_EQ(louder.scale(-23.0), 20.0);
}

TEST(MeasureTarget, WhereNothingIsThereAValueIsItsOwnScale) {
    EXPECT_DOUBLE_EQ(MeasureTarget::parse("silence=0.25").scale(0.0), 0.25);
    EXPECT_DOUBLE_EQ(MeasureTarget::parse("onsets=+20%").scale(0.0), 0.0);
}

TEST(MeasureTarget, MalformedOnesSayWhatIsExpected) {
    const auto refused = [](const std::string& text, const std::string& reason) {
        EXPECT_THAT([&] { MeasureTarget::parse(text); }, ThrowsMessage<UsageError>(HasSubstr(reason)))
            << text;
    };
    refused("tempo", "expected MEASURE=CHANGE or MEASURE=VALUE");
    refused("tempo=", "expected a change such as +20%");
    refused("tempo=fast", "expected a change such as +20%");
    refused("tempo=nan", "expected a change such as +20%");
    refused("tempo=0x20", "expected a change such as +20%");
    refused("tempo=+%", "expected a change such as +20%");
    refused("tempo=1e999", "expected a change such as +20%");
    refused("tempo=20%", "a change needs its sign");
    refused("tempo=-100%", "leaves nothing");
    refused("tempo=+20", "write +20% for a change");
    refused("tempo=-20", "never negative");
    refused("loudness=+20%", "decibels have no percentages");
    EXPECT_THAT([] { MeasureTarget::parse("tmpo=+20%"); },
                ThrowsMessage<UsageError>(StrEq(
                    "unknown measure 'tmpo' (known: tempo, onsets, centroid, rolloff, bandwidth, flatness, "
                    "rms, loudness, peak, silence), did you mean 'tempo'?")));
    refused("duration_s=4", "unknown measure 'duration_s'");
}

}  // namespace
}  // namespace musicsteer
