#include "bundle/manifest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "musicsteer/errors.hpp"
#include "unit/bundle/manifest_json.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Manifest parsed(const json& manifest) {
    return Manifest::parse(manifest.dump(), "m.json");
}

// Expects that the valid manifest with `value` at a JSON pointer is refused with exactly "m.json: MESSAGE".
void expect_refused(const std::string& pointer, const json& value, const std::string& message) {
    json manifest = valid_manifest();
    manifest[json::json_pointer(pointer)] = value;
    EXPECT_THAT([&] { parsed(manifest); }, ThrowsMessage<InputError>("m.json: " + message)) << pointer;
}

TEST(Manifest, TakesThePublishedModelsWindowWhereNoneIsStated) {
    json older = valid_manifest();
    older.erase("window_s");
    EXPECT_EQ(parsed(older).window_s, 30.0);
}

json melody_manifest() {
    json manifest = valid_manifest();
    manifest["conditioning"] = {
        {"type", "prefix"},
        {"text_hidden_size", 32},
        {"num_chroma", 12},
        {"chroma_length", 235},
        {"chroma",
         {{"sample_rate_hz", 32000}, {"fft_size", 16384}, {"hop_length", 4096}, {"longest_s", 30}}}};
    return manifest;
}

TEST(Manifest, ReadsHowAMelodyIsHeard) {
    const Manifest manifest = parsed(melody_manifest());
    ASSERT_TRUE(manifest.melody);
    EXPECT_EQ(manifest.melody->chroma_length, 235);
    EXPECT_EQ(manifest.melody->framing.sample_rate_hz, 32000);
    EXPECT_EQ(manifest.melody->framing.fft_size, 16384);
    EXPECT_EQ(manifest.melody->framing.hop_length, 4096);
    EXPECT_EQ(manifest.melody->framing.longest_s, 30.0);
    EXPECT_EQ(manifest.prefix_slots(32), 267);
    EXPECT_EQ(parsed(valid_manifest()).prefix_slots(32), 0);
    json wrong = melody_manifest();
    wrong["conditioning"]["num_chroma"] = 24;
    EXPECT_THAT([&] { parsed(wrong); },
                ThrowsMessage<InputError>(
                    "m.json: conditioning.num_chroma: expected a whole number from 12 to 12, found 24"));
    wrong = melody_manifest();
    wrong["conditioning"]["chroma"]["longest_s"] = 0;
    EXPECT_THAT(
        [&] { parsed(wrong); },
        ThrowsMessage<InputError>("m.json: conditioning.chroma.longest_s: expected more than 0 seconds"));
}

TEST(Manifest, ReadsEveryField) {
    const Manifest manifest = parsed(valid_manifest());
    EXPECT_EQ(manifest.model_name, "tiny");
    EXPECT_EQ(manifest.source, "models/tiny");
    EXPECT_EQ(manifest.architecture, "MusicgenForConditionalGeneration");
    EXPECT_EQ(manifest.weights_sha256, std::string(64, 'b'));
    EXPECT_EQ(manifest.licence, "MIT");
    EXPECT_EQ(manifest.licence_note, "");
    EXPECT_EQ(manifest.decoder.num_layers, 4);
    EXPECT_EQ(manifest.decoder.hidden_size, 48);
    EXPECT_EQ(manifest.decoder.num_heads, 6);
    EXPECT_EQ(manifest.decoder.head_size, 8);
    EXPECT_EQ(manifest.decoder.ffn_size, 100);
    EXPECT_EQ(manifest.decoder.activation, "gelu");
    EXPECT_EQ(manifest.decoder.num_codebooks, 4);
    EXPECT_EQ(manifest.decoder.codebook_size, 64);
    EXPECT_EQ(manifest.decoder.start_token, 64);
    EXPECT_EQ(manifest.decoder.max_positions, 500);
    EXPECT_THAT(manifest.decoder.delays, ElementsAre(0, 0, 1, 3));
    EXPECT_EQ(manifest.decoder.channels, 2);
    EXPECT_EQ(manifest.text.hidden_size, 32);
    EXPECT_EQ(manifest.text.vocab_size, 100);
    EXPECT_EQ(manifest.text.pad_token_id, 0);
    EXPECT_EQ(manifest.text.eos_token_id, 1);
    EXPECT_EQ(manifest.codec.sample_rate_hz, 16000);
    EXPECT_EQ(manifest.codec.frame_rate_hz, 50.0);
    EXPECT_EQ(manifest.codec.hop_length, 320);
    EXPECT_EQ(manifest.codec.num_codebooks, 2);
    EXPECT_EQ(manifest.codec.codebook_size, 64);
    EXPECT_EQ(manifest.codec.channels, 1);
    EXPECT_EQ(manifest.window_s, 8.0);
    EXPECT_EQ(manifest.codec.lstm_layers, 2);
    EXPECT_EQ(manifest.codec.lstm_width, 16);
    EXPECT_EQ(manifest.default_guidance_scale, 3.0);
    EXPECT_EQ(manifest.default_top_k, 250);
    EXPECT_EQ(manifest.default_temperature, 1.0);
    EXPECT_EQ(manifest.precision.at("codec"), "f32");
    EXPECT_EQ(manifest.files.at("codec.pt").bytes, 10U);
    EXPECT_EQ(manifest.files.at("codec.pt").sha256, std::string(64, 'a'));
    EXPECT_EQ(manifest.versions.at("torch"), "2");
    EXPECT_THAT(manifest.capabilities, ElementsAre("cross-attention-text", "codec-encode"));
}

TEST(Manifest, EveryFieldIsMissedByName) {
    const json fields = valid_manifest().flatten();
    for (const auto& [pointer, value] : fields.items()) {
        const json::json_pointer place(pointer);
        const std::string parent = place.parent_pointer().to_string();
        if (parent == "/capabilities" || parent == "/decoder/delays" || parent == "/versions") continue;
        if (pointer == "/window_s") continue;  // older bundles lack it
        json manifest = valid_manifest();
        manifest[place.parent_pointer()].erase(place.back());
        EXPECT_THAT([&] { parsed(manifest); },
                    ThrowsMessage<InputError>(HasSubstr(place.back() + ": missing")))
            << pointer;
    }
}

TEST(Manifest, EveryFieldOfAWrongTypeIsNamed) {
    const json fields = valid_manifest().flatten();
    for (const auto& [pointer, value] : fields.items()) {
        json manifest = valid_manifest();
        const json::json_pointer place(pointer);
        manifest[place] = json::object();
        const std::string word =
            manifest[place.parent_pointer()].is_array() ? "[" + place.back() + "]" : place.back();
        EXPECT_THAT([&] { parsed(manifest); }, ThrowsMessage<InputError>(HasSubstr(word + ": expected ")))
            << pointer;
        EXPECT_THAT([&] { parsed(manifest); }, ThrowsMessage<InputError>(HasSubstr("found an object")))
            << pointer;
    }
}

TEST(Manifest, RefusesAnotherFormatAndNewerOnes) {
    expect_refused("/format", "gguf", "format: expected 'musicsteer-bundle', found 'gguf'");
    expect_refused(
        "/oldest_reader", 6,
        "written for a newer musicsteer (format version 6, this one reads up to 5); update musicsteer");
    expect_refused("/format_version", 4,
                   "written for an older musicsteer (format version 4, this one reads from 5 on); export the "
                   "checkpoint again with 'musicsteer export'");
    expect_refused("/oldest_reader", 0, "oldest_reader: expected a whole number from 1 to 1048576, found 0");
    expect_refused("/format_version", 0,
                   "format_version: expected a whole number from 1 to 1048576, found 0");
    // Newer, but readable; what it adds is ignored.
    json newer = valid_manifest();
    newer["format_version"] = 7;
    newer["capabilities"].push_back("telepathy");
    newer["decoder"]["rotary"] = true;
    EXPECT_EQ(parsed(newer).capabilities.size(), 3U);
}

TEST(Manifest, ANewerFormatIsSaidBeforeAnythingElse) {
    EXPECT_THAT([] { Manifest::parse(R"({"format":"musicsteer-bundle","oldest_reader":6})", "m.json"); },
                ThrowsMessage<InputError>(HasSubstr("written for a newer musicsteer")));
}

TEST(Manifest, RefusesConditioningThatItCannotRunByName) {
    expect_refused("/conditioning/type", "joint",
                   "conditioning.type: expected 'cross' (text by cross-attention) or 'prefix' (melody and "
                   "text), found 'joint', which this musicsteer cannot run");
}

TEST(Manifest, RefusesContradictions) {
    expect_refused("/decoder/num_heads", 5,
                   "decoder: num_heads x head_size is 5 x 8 = 40, but hidden_size is 48");
    expect_refused("/decoder/delays", {0, 1, 2},
                   "decoder.delays: expected one delay for each of 4 codebooks, found 3");
    expect_refused("/decoder/delays", {0, 0, 1, 500},
                   "decoder.delays[3]: expected a whole number from 0 to 499, found 500");
    expect_refused("/decoder/delays", {0, 0, -1, 1},
                   "decoder.delays[2]: expected a whole number from 0 to 499, found -1");
    expect_refused("/decoder/start_token", 65,
                   "decoder.start_token: expected a whole number from 0 to 64, found 65");
    expect_refused("/text_encoder/eos_token_id", 100,
                   "text_encoder.eos_token_id: expected a whole number from 0 to 99, found 100");
    expect_refused("/codec/num_codebooks", 4,
                   "codec.num_codebooks: 4 x 2 = 8 codebooks for all channels, but the decoder writes 4");
    expect_refused("/codec/codebook_size", 32,
                   "codec.codebook_size: the decoder writes codes below 64, the codec knows 32");
    expect_refused(
        "/codec/channels", 2,
        "codec.channels: expected 1, for a stereo decoder's channels are decoded one by one; found 2");
    expect_refused(
        "/codec/frame_rate_hz", 75,
        "codec.frame_rate_hz: expected about sample_rate_hz / hop_length = 50.000000, found 75.000000");
    const std::string window = "window_s: expected seconds from one frame to 3600, found ";
    expect_refused("/window_s", 0, window + "0");
    expect_refused("/window_s", 0.001, window + "0.001");
    expect_refused("/window_s", 1e9, window + "1e+09");
    expect_refused("/generation_defaults/temperature", -1,
                   "generation_defaults.temperature: expected 0 or more, found a negative number");
    json odd = valid_manifest();
    odd["decoder"]["num_codebooks"] = 3;
    odd["decoder"]["delays"] = {0, 1, 2};
    EXPECT_THAT([&] { parsed(odd); },
                ThrowsMessage<InputError>(
                    "m.json: decoder.num_codebooks: expected an even number for 2 channels, found 3"));
}

TEST(Manifest, RefusesSizesThatAreNotPositiveOrWouldOverflow) {
    for (const char* pointer :
         {"/decoder/num_layers", "/decoder/hidden_size", "/decoder/num_heads", "/decoder/head_size",
          "/decoder/ffn_size", "/decoder/num_codebooks", "/decoder/codebook_size", "/decoder/max_positions",
          "/decoder/channels", "/conditioning/text_hidden_size", "/text_encoder/vocab_size",
          "/codec/sample_rate_hz", "/codec/hop_length", "/codec/num_codebooks", "/codec/codebook_size",
          "/codec/channels", "/codec/lstm_width"}) {
        for (const json& value : {json(0), json(-1), json(std::int64_t{1} << 40),
                                  json(std::uint64_t{1} << 63), json(1e300), json(1.5)}) {
            json manifest = valid_manifest();
            manifest[json::json_pointer(pointer)] = value;
            EXPECT_THAT([&] { parsed(manifest); },
                        ThrowsMessage<InputError>(HasSubstr("expected a whole number from 1 to ")))
                << pointer << " " << value;
        }
    }
}

TEST(Manifest, TakesAFrameRateRoundedUpAndACodecWithoutLstm) {
    json manifest = valid_manifest();
    manifest["codec"]["hop_length"] = 300;  // 53.33 frames a second, which transformers calls 54
    manifest["codec"]["frame_rate_hz"] = 54;
    manifest["codec"]["lstm_layers"] = 0;
    manifest["codec"]["lstm_width"] = 0;
    EXPECT_EQ(parsed(manifest).codec.frame_rate_hz, 54.0);
}

TEST(Manifest, ChecksTheListOfFiles) {
    for (const char* name : {"a/b.pt", "..", ".", "", "/etc/passwd", "a\\b"}) {
        json manifest = valid_manifest();
        manifest["files"][name] = manifest["files"]["codec.pt"];
        EXPECT_THAT(
            [&] { parsed(manifest); },
            ThrowsMessage<InputError>(HasSubstr(": expected the name of a file in the bundle's own folder")))
            << name;
    }
    for (const char* name : {"decoder.pt", "text_encoder.pt", "codec.pt", "tokenizer.json"}) {
        json manifest = valid_manifest();
        manifest["files"].erase(name);
        EXPECT_THAT([&] { parsed(manifest); },
                    ThrowsMessage<InputError>("m.json: files['" + std::string(name) + "']: missing"));
    }
    json manifest = valid_manifest();
    manifest["files"]["codec.pt"]["sha256"] = "ABC";
    EXPECT_THAT([&] { parsed(manifest); },
                ThrowsMessage<InputError>(
                    "m.json: files['codec.pt'].sha256: expected 64 lower-case hexadecimal digits, "
                    "found 'ABC'"));
    manifest = valid_manifest();
    manifest["files"]["codec.pt"]["bytes"] = -1;
    EXPECT_THAT([&] { parsed(manifest); },
                ThrowsMessage<InputError>(
                    "m.json: files['codec.pt'].bytes: expected a whole number of 0 or more, found -1"));
}

TEST(Manifest, CountsFrames) {
    Manifest manifest = parsed(valid_manifest());  // 50 frames a second, 500 positions, delays up to 3
    EXPECT_EQ(manifest.frames_of(0.0), 0);
    EXPECT_EQ(manifest.frames_of(1.0), 50);
    EXPECT_EQ(manifest.frames_of(0.989), 49);  // 49.45
    EXPECT_EQ(manifest.frames_of(0.991), 50);  // 49.55
    EXPECT_EQ(manifest.frames_of(0.009), 0);
    EXPECT_EQ(manifest.decoder.max_delay(), 3);
    EXPECT_EQ(manifest.max_frames(), 497);
    for (const double seconds : {-1.0, std::nan(""), double{INFINITY}, 1e18}) {
        EXPECT_THAT(
            [&] { manifest.frames_of(seconds); },
            ThrowsMessage<UsageError>(HasSubstr("duration: expected seconds from 0 to 20000000, found ")));
    }
}

TEST(ManifestLoad, SaysWhatIsThereInsteadOfABundle) {
    const TempFolder folder;
    const std::string path = folder.path().string();
    EXPECT_THAT([&] { Manifest::load(folder.path()); },
                ThrowsMessage<InputError>(path + ": no manifest.json, so this is not a model bundle"));
    write_bytes(folder / "config.json", "{}");
    EXPECT_THAT([&] { Manifest::load(folder.path()); },
                ThrowsMessage<InputError>(
                    path + ": a checkpoint, not a model bundle; export it with 'musicsteer export'"));
    EXPECT_THAT(
        [&] { Manifest::load(folder / "none"); },
        ThrowsMessage<InputError>(path + "/none: no such folder; 'musicsteer export' makes a model bundle"));
    EXPECT_THAT([&] { Manifest::load(folder / "config.json"); },
                ThrowsMessage<InputError>(
                    path + "/config.json: expected the folder of a model bundle, found a file"));
    write_bytes(folder / "manifest.json", "{");
    EXPECT_THAT([&] { Manifest::load(folder.path()); },
                ThrowsMessage<InputError>(HasSubstr(path + "/manifest.json: not JSON: line 1, column 2: ")));
    write_bytes(folder / "manifest.json", valid_manifest().dump());
    EXPECT_EQ(Manifest::load(folder.path()).model_name, "tiny");
}

TEST(Manifest, TruncatedAtEveryLength) {
    const std::string text = valid_manifest().dump();
    for (std::size_t length = 0; length < text.size(); length += 7) {
        EXPECT_THROW(Manifest::parse(text.substr(0, length), "m.json"), InputError) << length;
    }
}

}  // namespace
}  // namespace musicsteer
