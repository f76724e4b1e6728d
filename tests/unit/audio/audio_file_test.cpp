#include "musicsteer/audio_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "musicsteer/errors.hpp"
#include "unit/restricted_process.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;
using namespace std::string_literals;

constexpr float kStep16 = 1.0F / 32768.0F;

std::string write_and_read_bytes(const Audio& audio, SampleFormat format) {
    const TempFolder folder;
    write_wav(folder / "a.wav", audio, format, Overwrite::kRefuse);
    return read_bytes(folder / "a.wav");
}

TEST(AudioFile, WritesThisPcm16File) {
    const Audio audio{{0.0F, 0.5F, -1.0F, 1.0F}, 1, 32000};
    EXPECT_EQ(write_and_read_bytes(audio, SampleFormat::kPcm16),
              "RIFF\x2C\0\0\0WAVE"                                              // 44 bytes follow
              "fmt \x10\0\0\0\x01\0\x01\0\x00\x7D\0\0\x00\xFA\0\0\x02\0\x10\0"  // PCM, mono, 32000 Hz, 64000
                                                                                // bytes/s
              "data\x08\0\0\0"
              "\x00\x00\x00\x40\x00\x80\xFF\x7F"s);  // 0, 16384, -32768, 32767
}

TEST(AudioFile, RoundsPcmToTheNearestStepTiesToEven) {
    const Audio audio{
        {1.5F * kStep16, 2.5F * kStep16, -1.5F * kStep16, 1.4F * kStep16, 1.6F * kStep16}, 1, 8000};
    const std::string bytes = write_and_read_bytes(audio, SampleFormat::kPcm16);
    EXPECT_EQ(bytes.substr(44), "\x02\0\x02\0\xFE\xFF\x01\0\x02\0"s);
}

TEST(AudioFile, WritesPcm24) {
    const Audio audio{{0.5F, -1.0F, 1.0F, 3.0F / 8388608.0F}, 1, 8000};
    const std::string bytes = write_and_read_bytes(audio, SampleFormat::kPcm24);
    EXPECT_EQ(bytes.substr(bytes.size() - 12), "\x00\x00\x40\x00\x00\x80\xFF\xFF\x7F\x03\x00\x00"s);
}

TEST(AudioFile, ClampsInPcm) {
    const TempFolder folder;
    const Audio audio{{1.0F, -1.0F, 1.01F, -7.0F, 1e30F, 0.99F}, 1, 8000};
    for (const SampleFormat format : {SampleFormat::kPcm16, SampleFormat::kPcm24}) {
        write_wav(folder / "a.wav", audio, format, Overwrite::kAllow);
        const std::vector<float> found = read_audio(folder / "a.wav").samples;
        const float top = format == SampleFormat::kPcm16 ? 32767.0F / 32768.0F : 8388607.0F / 8388608.0F;
        EXPECT_EQ(std::vector<float>(found.begin(), found.end() - 1),
                  (std::vector<float>{top, -1.0F, top, -1.0F, top}));
        EXPECT_NEAR(found.back(), 0.99F, kStep16 / 2);
    }
}

TEST(AudioFile, FloatKeepsEveryBitAndWhatIsBeyondFullScale) {
    const TempFolder folder;
    const Audio audio{{0.1F, -1.0F / 3.0F, 2.5F, -7.0F, 1e-40F, -0.0F}, 2, 44100};
    write_wav(folder / "a.wav", audio, SampleFormat::kFloat, Overwrite::kRefuse);
    const Audio found = read_audio(folder / "a.wav");
    EXPECT_EQ(found.samples, audio.samples);
    EXPECT_TRUE(std::signbit(found.samples[5]));
    EXPECT_EQ(found.channels, 2);
    EXPECT_EQ(found.sample_rate_hz, 44100);
    EXPECT_EQ(found.frames(), 3);
    EXPECT_DOUBLE_EQ(found.duration_s(), 3.0 / 44100.0);
}

TEST(AudioFile, FloatFilesHoldNoTimeStamp) {
    const Audio audio{std::vector<float>(100, 0.25F), 1, 8000};
    const std::string bytes = write_and_read_bytes(audio, SampleFormat::kFloat);
    EXPECT_THAT(bytes, Not(HasSubstr("PEAK")));
    EXPECT_EQ(bytes, write_and_read_bytes(audio, SampleFormat::kFloat));
}

TEST(AudioFile, AsWrittenIsWhatIsReadBack) {
    const TempFolder folder;
    const Audio audio{{0.0F, 0.1F, -0.7F, 1.5F, -2.0F, 1.0F, 1.4F * kStep16, 1e-9F}, 2, 8000};
    for (const SampleFormat format : {SampleFormat::kPcm16, SampleFormat::kPcm24, SampleFormat::kFloat}) {
        write_wav(folder / "a.wav", audio, format, Overwrite::kAllow);
        EXPECT_EQ(as_written(audio, format).samples, read_audio(folder / "a.wav").samples);
    }
}

TEST(AudioFile, LongFilesComeBackWhole) {
    const TempFolder folder;
    Audio audio{std::vector<float>(100'002), 2, 32000};  // several blocks, the last one short
    for (std::size_t i = 0; i < audio.samples.size(); ++i) {
        audio.samples[i] = static_cast<float>(i % 65521) * kStep16 - 0.99F;
    }
    write_wav(folder / "a.wav", audio, SampleFormat::kPcm16, Overwrite::kRefuse);
    const Audio found = read_audio(folder / "a.wav");
    ASSERT_EQ(found.samples.size(), audio.samples.size());
    for (std::size_t i = 0; i < audio.samples.size(); ++i) {
        ASSERT_NEAR(found.samples[i], std::min(audio.samples[i], 1.0F - kStep16), kStep16 / 2) << i;
    }
}

TEST(AudioFile, WritesSilenceOfNoLength) {
    const TempFolder folder;
    write_wav(folder / "a.wav", {{}, 1, 8000}, SampleFormat::kPcm16, Overwrite::kRefuse);
    EXPECT_EQ(read_audio(folder / "a.wav").frames(), 0);
}

TEST(AudioFile, RefusesAudioThatIsNone) {
    const TempFolder folder;
    const auto write = [&](Audio audio) {
        write_wav(folder / "a.wav", audio, SampleFormat::kFloat, Overwrite::kRefuse);
    };
    EXPECT_THAT(
        [&] {
            write({{0.0F, NAN}, 1, 8000});
        },
        ThrowsMessage<ModelError>(HasSubstr("a.wav: sample 1 of the audio is not finite")));
    EXPECT_THAT(
        [&] {
            write({{INFINITY}, 1, 8000});
        },
        ThrowsMessage<ModelError>(HasSubstr("sample 0 of the audio is not finite")));
    EXPECT_THAT(
        [&] {
            write({{0.0F, 0.0F, 0.0F}, 2, 8000});
        },
        ThrowsMessage<ModelError>(HasSubstr("a.wav: no audio: 3 samples in 2 channels at 8000 Hz")));
    EXPECT_THROW(write({{0.0F}, 0, 8000}), ModelError);
    EXPECT_THROW(write({{0.0F}, 1, 0}), ModelError);
    EXPECT_THROW(write({{0.0F}, 1, std::int64_t{1} << 40}), ModelError);
    EXPECT_EQ(folder.names(), std::set<std::string>{});
}

TEST(AudioFile, LeavesNoFileOnAFullDisk) {
    const TempFolder folder;
    const Audio audio{std::vector<float>(200'000, 0.5F), 1, 8000};
    for (const SampleFormat format : {SampleFormat::kPcm16, SampleFormat::kPcm24, SampleFormat::kFloat}) {
        for (const rlim_t bytes : {0, 20, 44, 100'000, 400'000}) {
            const FileSizeLimit limit(bytes);
            EXPECT_THAT([&] { write_wav(folder / "a.wav", audio, format, Overwrite::kRefuse); },
                        ThrowsMessage<OutputError>(HasSubstr("a.wav: cannot be written: ")))
                << bytes;
        }
    }
    EXPECT_EQ(folder.names(), std::set<std::string>{});
    EXPECT_THAT([&] { write_wav("/dev/full", audio, SampleFormat::kPcm16, Overwrite::kRefuse); },
                ThrowsMessage<OutputError>(HasSubstr("/dev/full: cannot be written: ")));
}

TEST(AudioFile, DoesNotReplaceWithoutLeave) {
    const TempFolder folder;
    write_bytes(folder / "a.wav", "old");
    EXPECT_THAT(
        [&] {
            write_wav(folder / "a.wav", {{0.0F}, 1, 8000}, SampleFormat::kPcm16, Overwrite::kRefuse);
        },
        ThrowsMessage<OutputError>(HasSubstr("a.wav: exists already; use --force")));
    EXPECT_EQ(read_bytes(folder / "a.wav"), "old");
}

TEST(AudioFile, ReadsOtherFormats) {
    const TempFolder folder;
    // Sun .au, big-endian: header of 24 bytes, 4 bytes of data, 16-bit PCM (3), 8000 Hz, mono.
    const std::string au = ".snd\0\0\0\x18\0\0\0\x04\0\0\0\x03\0\0\x1F\x40\0\0\0\x01\x40\0\xC0\0"s;
    const Audio audio = read_audio(write_bytes(folder / "a.au", au));
    EXPECT_THAT(audio.samples, ElementsAre(0.5F, -0.5F));
    EXPECT_EQ(audio.sample_rate_hz, 8000);
    EXPECT_EQ(audio.channels, 1);
}

TEST(AudioFile, SaysWhatCannotBeRead) {
    const TempFolder folder;
    EXPECT_THAT([&] { read_audio(folder / "none.wav"); },
                ThrowsMessage<InputError>((folder / "none.wav").string() +
                                          ": cannot be read: No such file or directory"));
    EXPECT_THAT([&] { read_audio(folder.path()); },
                ThrowsMessage<InputError>(HasSubstr(": expected a file, found a folder")));
    const auto text = write_bytes(folder / "text.wav", "this is text");
    EXPECT_THAT([&] { read_audio(text); },
                ThrowsMessage<InputError>(HasSubstr("text.wav: cannot be read as audio: ")));
}

TEST(AudioFile, RefusesSamplesThatAreNotFinite) {
    const TempFolder folder;
    std::string bytes = write_and_read_bytes({{0.0F, 0.0F}, 1, 8000}, SampleFormat::kFloat);
    bytes.replace(bytes.size() - 4, 4, "\x00\x00\xC0\x7F"s);  // a NaN
    const auto path = write_bytes(folder / "nan.wav", bytes);
    EXPECT_THAT([&] { read_audio(path); },
                ThrowsMessage<InputError>(path.string() + ": holds samples that are not finite"));
}

TEST(AudioFile, RefusesAWavThatWasCutOff) {
    const TempFolder folder;
    const Audio audio{{0.5F, -0.5F, 0.25F}, 1, 8000};
    for (const SampleFormat format : {SampleFormat::kPcm16, SampleFormat::kPcm24, SampleFormat::kFloat}) {
        const std::string bytes = write_and_read_bytes(audio, format);
        const auto path = write_bytes(folder / "cut.wav", bytes.substr(0, bytes.size() - 3));
        EXPECT_THAT([&] { read_audio(path); },
                    ThrowsMessage<InputError>(HasSubstr("cut.wav: truncated: its header announces ")));
    }
    std::string bytes = write_and_read_bytes(audio, SampleFormat::kPcm16);
    const auto longer = write_bytes(folder / "longer.wav", bytes + "LIST\x04\0\0\0abcd"s);
    EXPECT_EQ(read_audio(longer).samples, audio.samples);
    for (const std::string& unknown :
         {"\xFF\xFF\xFF\xFF"s, "\x00\xF0\xFF\x7F"s}) {  // ours and ffmpeg's; sox's
        bytes.replace(40, 4, unknown);
        EXPECT_EQ(read_audio(write_bytes(folder / "streamed.wav", bytes)).samples, audio.samples);
    }
}

TEST(AudioFile, TruncatedOrLyingFilesAreNoCrash) {
    const TempFolder folder;
    const std::string bytes = write_and_read_bytes({{0.5F, -0.5F, 0.25F}, 1, 8000}, SampleFormat::kPcm16);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto path = write_bytes(folder / "cut.wav", bytes.substr(0, length));
        try {
            EXPECT_LE(read_audio(path).samples.size(), 2U);
        } catch (const InputError&) {
        }
    }
    std::string lying = bytes;
    lying.replace(40, 4, "\xF0\xFF\xFF\xFF"s);  // 4 GB of data, says the header
    EXPECT_LE(read_audio(write_bytes(folder / "lying.wav", lying)).samples.size(), 3U);
}

TEST(ParseSampleFormat, KnowsThree) {
    EXPECT_EQ(parse_sample_format("pcm16"), SampleFormat::kPcm16);
    EXPECT_EQ(parse_sample_format("pcm24"), SampleFormat::kPcm24);
    EXPECT_EQ(parse_sample_format("float"), SampleFormat::kFloat);
    EXPECT_THAT([] { parse_sample_format("pcm61"); },
                ThrowsMessage<UsageError>(
                    "sample format: expected pcm16, pcm24 or float, found 'pcm61', did you mean 'pcm16'?"));
    EXPECT_THROW(parse_sample_format(""), UsageError);
}

}  // namespace
}  // namespace musicsteer
