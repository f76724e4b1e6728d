#include "recordings/recordings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "musicsteer/errors.hpp"
#include "unit/bundle/manifest_json.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

void write_tone(const std::filesystem::path& path, double frequency_hz, double duration_s, float peak = 0.5F,
                std::int64_t rate = 16'000) {
    Audio audio{{}, 1, rate};
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(duration_s * static_cast<double>(rate)); ++i) {
        const double phase =
            2.0 * std::numbers::pi * frequency_hz * static_cast<double>(i) / static_cast<double>(rate);
        audio.samples.push_back(peak * static_cast<float>(std::sin(phase)));
    }
    write_wav(path, audio, SampleFormat::kPcm16, Overwrite::kRefuse);
}

class Recordings : public testing::Test {
  protected:
    RecordingFolder load() { return load_recordings(folder_.path(), manifest_, options_); }

    TempFolder folder_;
    Manifest manifest_ = Manifest::parse(valid_manifest().dump(), "manifest.json");  // stereo, 50 frames/s
    RecordingOptions options_;
    std::vector<std::string> messages_;

    void SetUp() override {
        options_.duration_s = 1.0;
        options_.on_skip = [this](const std::string& message) { messages_.push_back(message); };
    }
};

TEST_F(Recordings, AreCutConvertedAndInOrder) {
    write_tone(folder_ / "b.wav", 300, 3.0, 0.5F, 44'100);
    write_tone(folder_ / "a.wav", 300, 0.507);
    write_bytes(folder_ / ".hidden", "x");
    std::filesystem::create_directory(folder_ / "inner");
    const RecordingFolder loaded = load();
    ASSERT_EQ(loaded.recordings.size(), 2U);
    EXPECT_EQ(loaded.skipped, 0);
    EXPECT_EQ(loaded.recordings[0].file.filename(), "a.wav");
    EXPECT_EQ(loaded.recordings[0].num_frames, 25);  // 8112 samples hold 25 frames of 320
    EXPECT_EQ(loaded.recordings[1].num_frames, 50);
    for (const Recording& recording : loaded.recordings) {
        EXPECT_EQ(recording.audio.channels, 2);
        EXPECT_EQ(recording.audio.sample_rate_hz, 16'000);
        EXPECT_EQ(recording.audio.frames(), recording.num_frames * 320);
        EXPECT_EQ(recording.value, std::nullopt);
        EXPECT_EQ(recording.sha256.size(), 64U);
    }
}

TEST_F(Recordings, WhatCannotBeUsedIsNamedAndCounted) {
    write_tone(folder_ / "a.wav", 300, 1.0);
    write_tone(folder_ / "b.wav", 300, 1.0);
    write_tone(folder_ / "quiet.wav", 300, 1.0, 0.0005F);
    write_tone(folder_ / "short.wav", 300, 0.1);
    write_bytes(folder_ / "text.wav", "not audio");
    const RecordingFolder loaded = load();
    EXPECT_EQ(loaded.recordings.size(), 2U);
    EXPECT_EQ(loaded.skipped, 3);
    EXPECT_THAT(messages_, ElementsAre(HasSubstr("quiet.wav: silent"), HasSubstr("short.wav: too short"),
                                       HasSubstr("text.wav: cannot be read")));
    std::filesystem::remove(folder_ / "b.wav");
    EXPECT_THAT([&] { load(); },
                ThrowsMessage<InputError>(HasSubstr("at least 2 usable recordings, found 1 (and 3")));
}

TEST_F(Recordings, ThatEndBeforeTheWindowAreSkipped) {
    write_tone(folder_ / "a.wav", 300, 1.0);
    write_tone(folder_ / "b.wav", 300, 1.0);
    write_tone(folder_ / "c.wav", 300, 0.4);
    options_.positions = "window:0.5-1";
    EXPECT_EQ(load().skipped, 1);
    options_.positions = "window:2-3";
    EXPECT_THROW(load(), UsageError);
}

TEST_F(Recordings, AreMeasuredAndSplitByValue) {
    write_tone(folder_ / "a.wav", 400, 1.0);
    write_tone(folder_ / "b.wav", 2000, 1.0);
    write_tone(folder_ / "c.wav", 800, 1.0);
    options_.value = RecordingValue::kCentroid;
    RecordingFolder loaded = load();
    ASSERT_EQ(loaded.recordings.size(), 3U);
    EXPECT_GT(loaded.recordings[1].value.value(), loaded.recordings[0].value.value());
    const RecordingSides sides = sides_by_value(std::move(loaded), folder_.path(), options_.value);
    EXPECT_EQ(sides.concept_name, "centroid");
    ASSERT_EQ(sides.positive.size(), 1U);
    EXPECT_EQ(sides.positive[0].file.filename(), "b.wav");
    EXPECT_EQ(sides.negative.size(), 2U);
}

TEST_F(Recordings, FoldersThatAreNone) {
    EXPECT_THROW(load_recordings(folder_ / "absent", manifest_, options_), InputError);
    const auto file = write_bytes(folder_ / "file", "x");
    EXPECT_THAT([&] { load_recordings(file, manifest_, options_); },
                ThrowsMessage<InputError>(HasSubstr("expected a folder")));
    options_.duration_s = 1e9;
    EXPECT_THROW(load(), UsageError);
}

TEST(RecordingSides, AreLabelledByTheirFolders) {
    const RecordingSides sides = sides_of({}, {}, "music/fast/", "music/slow", RecordingValue::kNone);
    EXPECT_EQ(sides.positive_label, "fast");
    EXPECT_EQ(sides.negative_label, "slow");
    EXPECT_EQ(sides.concept_name, "fast");
    const RecordingSides same = sides_of({}, {}, "a/x", "b/x", RecordingValue::kNone);
    EXPECT_EQ(same.positive_label, "positive");
    EXPECT_EQ(same.negative_label, "negative");
}

TEST(RecordingValues, Names) {
    EXPECT_EQ(measure_name(parse_recording_value("tempo")), "tempo_bpm");
    EXPECT_EQ(measure_name(parse_recording_value("centroid")), "spectral_centroid_hz");
    EXPECT_THROW(parse_recording_value("loudness"), UsageError);
}

}  // namespace
}  // namespace musicsteer
