#include "steering/preset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using testing::StartsWith;
using testing::StrEq;
using testing::ThrowsMessage;

json valid_entry() {
    return {{"file", "vectors/tempo.safetensors"},
            {"sha256", std::string(64, 'c')},
            {"concept", "tempo"},
            {"labels", {{"positive", "fast"}, {"negative", "slow"}}},
            {"alpha", 0.5},
            {"alpha_range", {0.25, 1.0}},
            {"strategy", "one-to-all"},
            {"layers", {0, 2}},
            {"source_layer", 3},
            {"site", "mlp_out"},
            {"rows", "conditional"},
            {"unit", "residual"}};
}

json valid_preset() {
    return {{"format", "musicsteer-preset"},
            {"format_version", 1},
            {"oldest_reader", 1},
            {"musicsteer", "0.1.0"},
            {"model", {{"name", "tiny"}, {"weights_sha256", std::string(64, 'b')}}},
            {"steering", {valid_entry()}},
            {"evidence", {{"command", "calibrate"}}}};
}

Preset parse_preset(const json& content) {
    return Preset::parse(content.dump(), "p.json", "presets");
}

TEST(Preset, IsRead) {
    const Preset preset = parse_preset(valid_preset());
    EXPECT_EQ(preset.model_name, "tiny");
    EXPECT_EQ(preset.weights_sha256, std::string(64, 'b'));
    EXPECT_EQ(preset.evidence, (json{{"command", "calibrate"}}));
    ASSERT_EQ(preset.entries.size(), 1U);
    const PresetEntry& entry = preset.entries.front();
    EXPECT_EQ(entry.lowest_alpha, 0.25);
    EXPECT_EQ(entry.highest_alpha, 1.0);
    EXPECT_EQ(entry.steering.file, "presets/vectors/tempo.safetensors");
    json expected = valid_entry();
    expected["file"] = "presets/vectors/tempo.safetensors";
    expected.erase("alpha_range");
    EXPECT_EQ(steering_json(entry.steering), expected);
}

TEST(Preset, UnknownKeysAreIgnoredAndSourceLayerMayBeMissing) {
    json content = valid_preset();
    content["remark"] = "later versions may add this";
    content["steering"][0]["schedule"] = "constant";
    content["steering"][0].erase("source_layer");
    EXPECT_EQ(parse_preset(content).entries.front().steering.source_layer, std::nullopt);
}

TEST(Preset, VectorFileMayLieAboveOrAnywhere) {
    json content = valid_preset();
    content["steering"][0]["file"] = "../tempo.safetensors";
    EXPECT_EQ(parse_preset(content).entries.front().steering.file, "tempo.safetensors");
    content["steering"][0]["file"] = "/data/tempo.safetensors";
    EXPECT_EQ(parse_preset(content).entries.front().steering.file, "/data/tempo.safetensors");
}

TEST(Preset, SavedAndLoadedItIsTheSame) {
    const TempFolder folder;
    Preset preset = parse_preset(valid_preset());
    preset.entries.front().steering.file = folder / "vectors/tempo.safetensors";
    preset.save(folder / "presets/calm.json", Overwrite::kRefuse);
    const Preset again = Preset::load(folder / "presets/calm.json");
    EXPECT_EQ(again.model_name, preset.model_name);
    EXPECT_EQ(again.weights_sha256, preset.weights_sha256);
    EXPECT_EQ(again.evidence, preset.evidence);
    ASSERT_EQ(again.entries.size(), 1U);
    EXPECT_EQ(steering_json(again.entries[0].steering), steering_json(preset.entries[0].steering));
    EXPECT_EQ(again.entries[0].lowest_alpha, 0.25);
    EXPECT_EQ(again.entries[0].highest_alpha, 1.0);
    const json stored = json::parse(read_bytes(folder / "presets/calm.json"));
    EXPECT_EQ(stored["steering"][0]["file"], "../vectors/tempo.safetensors");
}

TEST(Preset, IsNotReplacedUnlessAllowed) {
    const TempFolder folder;
    write_bytes(folder / "calm.json", "mine");
    const Preset preset = parse_preset(valid_preset());
    EXPECT_THROW(preset.save(folder / "calm.json", Overwrite::kRefuse), OutputError);
    EXPECT_EQ(read_bytes(folder / "calm.json"), "mine");
    preset.save(folder / "calm.json", Overwrite::kAllow);
    EXPECT_EQ(Preset::load(folder / "calm.json").model_name, "tiny");
}

TEST(Preset, WhatMakesNoSenseIsNotSaved) {
    const TempFolder folder;
    const auto refused = [&](const std::function<void(Preset&)>& change) {
        Preset preset = parse_preset(valid_preset());
        change(preset);
        EXPECT_THROW(preset.save(folder / "calm.json", Overwrite::kRefuse), UsageError);
    };
    refused([](Preset& preset) { preset.entries.clear(); });
    refused([](Preset& preset) { preset.entries[0].steering.alpha = 1.5; });
    refused([](Preset& preset) { preset.entries[0].lowest_alpha = 0.75; });
    refused(
        [](Preset& preset) { preset.entries[0].steering.alpha = std::numeric_limits<double>::quiet_NaN(); });
    refused(
        [](Preset& preset) { preset.entries[0].highest_alpha = std::numeric_limits<double>::infinity(); });
    EXPECT_TRUE(folder.names().empty());
}

struct Damage {
    const char* pointer;  ///< JSON pointer to what is replaced
    json value;
    const char* message;
};

class DamagedPreset : public testing::TestWithParam<Damage> {};

TEST_P(DamagedPreset, IsRefusedWithThePlace) {
    json content = valid_preset();
    content[json::json_pointer(GetParam().pointer)] = GetParam().value;
    EXPECT_THAT([&] { parse_preset(content); }, ThrowsMessage<InputError>(StrEq(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Preset, DamagedPreset,
    testing::Values(
        Damage{"/format", "musicsteer-sweep",
               "p.json: format: expected 'musicsteer-preset', found 'musicsteer-sweep'"},
        Damage{"/oldest_reader", 2,
               "p.json: written for a newer musicsteer (format version 2, this one reads up to 1); update "
               "musicsteer"},
        Damage{"/model", "tiny", "p.json: model: expected an object, found text"},
        Damage{"/model/weights_sha256", "abc",
               "p.json: model.weights_sha256: expected a SHA-256 (64 digits 0-9, a-f), found 'abc'"},
        Damage{"/steering", json::array(), "p.json: steering: expected at least one entry, found none"},
        Damage{"/steering", json::object(), "p.json: steering: expected a list, found an object"},
        Damage{"/evidence", "trust me", "p.json: evidence: expected an object, found text"},
        Damage{"/steering/0/file", "",
               "p.json: steering[0].file: expected the path of a vector file, found ''"},
        Damage{"/steering/0/alpha", "strong", "p.json: steering[0].alpha: expected a number, found text"},
        Damage{"/steering/0/alpha", 2.0,
               "p.json: steering[0].alpha: expected a number in alpha_range [0.25,1.0], found 2.0"},
        Damage{"/steering/0/alpha_range", json::array({1.0}),
               "p.json: steering[0].alpha_range: expected two numbers, lowest and highest, found 1"},
        Damage{"/steering/0/alpha_range", json::array({1.0, 0.25}),
               "p.json: steering[0].alpha_range: expected the lower number first"},
        Damage{"/steering/0/layers", json::array(),
               "p.json: steering[0].layers: expected at least one layer, found none"},
        Damage{"/steering/0/layers/1", -1,
               "p.json: steering[0].layers[1]: expected a whole number from 0 to 9223372036854775807, "
               "found -1"},
        Damage{"/steering/0/strategy", "per-layr",
               "p.json: steering[0].strategy: unknown strategy 'per-layr' (known: per-layer, one-to-all, "
               "single), did you mean 'per-layer'?"},
        Damage{"/steering/0/rows", "null",
               "p.json: steering[0].rows: unknown rows 'null' (known: both, conditional)"}));

TEST(Preset, EveryKeyIsNeeded) {
    for (const char* pointer :
         {"/format", "/oldest_reader", "/model/name", "/model/weights_sha256", "/steering", "/evidence",
          "/steering/0/file", "/steering/0/sha256", "/steering/0/concept", "/steering/0/labels/positive",
          "/steering/0/alpha", "/steering/0/alpha_range", "/steering/0/strategy", "/steering/0/layers",
          "/steering/0/site", "/steering/0/rows", "/steering/0/unit"}) {
        json content = valid_preset();
        const json::json_pointer place(pointer);
        content[place.parent_pointer()].erase(place.back());
        EXPECT_THAT([&] { parse_preset(content); },
                    ThrowsMessage<InputError>(testing::EndsWith(place.back() + ": missing")));
    }
}

TEST(Preset, NoJson) {
    EXPECT_THAT([] { Preset::parse("{", "p.json", ""); },
                ThrowsMessage<InputError>(StartsWith("p.json: not JSON: ")));
    EXPECT_THROW(Preset::load("/nowhere/preset.json"), InputError);
}

}  // namespace
}  // namespace musicsteer
