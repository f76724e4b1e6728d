#include "musicsteer/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// A dying tone of 1 kHz on every beat.
Audio clicks(double beats_per_second, std::int64_t rate_hz, double duration_s) {
    Audio audio{{}, 1, rate_hz};
    const auto samples = static_cast<std::int64_t>(duration_s * static_cast<double>(rate_hz));
    for (std::int64_t n = 0; n < samples; ++n) {
        const double since =
            std::fmod(static_cast<double>(n) / static_cast<double>(rate_hz) + 0.3 / beats_per_second,
                      1.0 / beats_per_second);
        audio.samples.push_back(
            static_cast<float>(0.5 * std::exp(-40 * since) * std::sin(2 * std::numbers::pi * 1000 * since)));
    }
    return audio;
}

TEST(Metrics, MeasuresAClickTrain) {
    const AudioMeasures found = measure_audio(clicks(2.0, 32'000, 10.0));
    EXPECT_EQ(found.duration_s, 10.0);
    EXPECT_EQ(found.sample_rate_hz, 32'000);
    EXPECT_NEAR(found.tempo_bpm.value(), 120.0, 2.0);
    EXPECT_NEAR(found.onset_rate_hz, 2.0, 0.1);
    EXPECT_EQ(found.clipped_samples, 0);
    EXPECT_TRUE(found.loudness_lufs.has_value());
}

TEST(Metrics, CountsAnOnsetOnceAtEveryRate) {
    for (const std::int64_t rate_hz : {16'000L, 22'050L, 24'000L, 32'000L, 44'100L, 48'000L}) {
        const AudioMeasures found = measure_audio(clicks(2.75, rate_hz, 8.0));
        EXPECT_NEAR(found.onset_rate_hz, 2.75, 0.13) << rate_hz;
    }
}

TEST(Metrics, SayWhichTempoWasExpected) {
    const Audio audio = clicks(2.0, 16'000, 4.0);
    EXPECT_EQ(measures_json(measure_audio(audio))["tempo_prior"], "120.0:1.0");
    EXPECT_EQ(measures_json(measure_audio(audio, {{106.0, 0.5}}))["tempo_prior"], "106.0:0.5");
}

TEST(Metrics, MeasuresASineOfKnownLevel) {
    Audio sine{{}, 1, 32'000};
    for (int n = 0; n < 320'000; ++n) {
        sine.samples.push_back(
            static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 1000 * n / 32'000.0)));
    }
    const AudioMeasures found = measure_audio(sine);
    // But for the frames at the two ends, which are partly empty.
    EXPECT_NEAR(found.rms, 0.5 / std::sqrt(2.0), 0.002);
    EXPECT_NEAR(found.spectral_centroid_hz, 1000.0, 10.0);
    EXPECT_NEAR(found.true_peak_dbtp.value(), -6.02, 0.1);
    EXPECT_EQ(found.silence_share, 0.0);
}

TEST(Metrics, OfTwoEqualChannelsAreThoseOfOneButForLoudness) {
    const Audio mono = clicks(1.5, 22'050, 6.0);
    Audio stereo{{}, 2, mono.sample_rate_hz};
    for (const float sample : mono.samples) stereo.samples.insert(stereo.samples.end(), 2, sample);
    nlohmann::json one = measures_json(measure_audio(mono));
    nlohmann::json two = measures_json(measure_audio(stereo));
    EXPECT_NEAR(two["loudness_lufs"].get<double>() - one["loudness_lufs"].get<double>(), 3.01, 0.01);
    one.erase("loudness_lufs");
    two.erase("loudness_lufs");
    EXPECT_EQ(one, two);
}

TEST(Metrics, OfSilenceAreZeroOrUndefined) {
    const nlohmann::json found = measures_json(measure_audio({std::vector<float>(32'000, 0.0F), 2, 16'000}));
    const nlohmann::json expected = {
        {"tempo_bpm", nullptr},
        {"onset_rate_hz", 0.0},
        {"spectral_centroid_hz", 0.0},
        {"spectral_rolloff_hz", 0.0},
        {"spectral_bandwidth_hz", 0.0},
        {"spectral_flatness", 1.0},
        {"rms", 0.0},
        {"loudness_lufs", nullptr},
        {"true_peak_dbtp", nullptr},
        {"silence_share", 1.0},
        {"clipped_samples", 0},
        {"duration_s", 1.0},
        {"sample_rate_hz", 16'000},
        {"tempo_prior", "120.0:1.0"},
    };
    for (const auto& [name, value] : expected.items()) {
        if (name == "spectral_flatness") {
            EXPECT_NEAR(found.at(name).get<double>(), 1.0, 1e-6);
        } else {
            EXPECT_EQ(found.at(name), value) << name;
        }
    }
    EXPECT_EQ(found.size(), expected.size());
}

TEST(Metrics, NamesEveryFieldOnce) {
    const std::set<std::string> names(kMeasureNames.begin(), kMeasureNames.end());
    std::set<std::string> keys;
    nlohmann::json object = measures_json({});
    object.erase("tempo_prior");  // how it was measured, which is no measure
    for (const auto& [key, value] : object.items()) keys.insert(key);
    EXPECT_EQ(keys, names);
    EXPECT_EQ(names.size(), kMeasureNames.size());
}

TEST(Metrics, CanBeTakenOfOneSample) {
    const AudioMeasures found = measure_audio({{0.5F}, 1, 22'050});
    EXPECT_EQ(found.tempo_bpm, std::nullopt);
    EXPECT_EQ(found.loudness_lufs, std::nullopt);
    EXPECT_EQ(found.onset_rate_hz, 0.0);
}

TEST(Metrics, RefuseWhatIsNoAudio) {
    EXPECT_THAT([] { measure_audio({{}, 1, 16'000}); }, ThrowsMessage<InputError>(HasSubstr("no samples")));
    EXPECT_THAT(
        [] {
            measure_audio({{0.0F, std::numeric_limits<float>::quiet_NaN()}, 1, 16'000});
        },
        ThrowsMessage<ModelError>(HasSubstr("sample 1 is not finite")));
}

}  // namespace
}  // namespace musicsteer
