#include "steering/steering_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "musicsteer/errors.hpp"
#include "steering/setting_fields.hpp"
#include "steering/setting_json.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StrEq;
using testing::ThrowsMessage;

json full_entry() {
    return {{"file", "vectors/tempo.safetensors"},
            {"sha256", std::string(64, 'c')},
            {"concept", "tempo"},
            {"labels", {{"positive", "fast"}, {"negative", "slow"}}},
            {"alpha", 0.5},
            {"strategy", "one-to-all"},
            {"layers", {0, 2}},
            {"source_layer", 3},
            {"site", "self_attn_heads"},
            {"rows", "conditional"},
            {"unit", "unit"},
            {"mode", "add-renorm"},
            {"schedule", "linear,0,1"},
            {"ramp_in_s", 0.75},
            {"probability", 0.5},
            {"frame_seed", 18446744073709551615U},
            {"weights", "exponential,0.5"},
            {"heads", {1, 3}},
            {"gate", "decoder.1.resid_post>0.25"},
            {"gate_file", "gates/g.safetensors"},
            {"gate_sha256", std::string(64, 'd')},
            {"orthogonalize", true}};
}

SteeringFile parse(const json& content) {
    return SteeringFile::parse(content.dump(), "s.json", "folder");
}

json with(const json& change) {
    json entry = {{"file", "t.safetensors"}};
    entry.update(change);
    return {{"steering", {entry}}};
}

void expect_error(const json& content, const std::string& message) {
    EXPECT_THAT([&] { parse(content); }, ThrowsMessage<InputError>(StrEq(message)));
}

TEST(SteeringFile, SaysEverything) {
    const SteeringFile file = parse({{"$schema", "x"},
                                     {"format", "musicsteer-steering"},
                                     {"model", {{"name", "tiny"}, {"weights_sha256", std::string(64, 'b')}}},
                                     {"steering", {full_entry()}}});
    EXPECT_EQ(file.model_name, "tiny");
    ASSERT_EQ(file.settings.size(), 1u);
    const SteeringSetting& setting = file.settings.front();
    EXPECT_EQ(setting.file, "folder/vectors/tempo.safetensors");
    EXPECT_EQ(setting.sha256, std::string(64, 'c'));
    EXPECT_EQ(setting.origin->path, "s.json");
    EXPECT_EQ(setting.origin->model_name, "tiny");
    EXPECT_EQ(setting.alpha, 0.5);
    EXPECT_EQ(setting.strategy, Strategy::kOneToAll);
    EXPECT_THAT(setting.layers->numbers, ElementsAre(0, 2));
    EXPECT_EQ(setting.source_layer, 3);
    EXPECT_EQ(setting.site, Site::kSelfAttnHeads);
    EXPECT_EQ(setting.rows, SteeredRows::kConditional);
    EXPECT_EQ(setting.unit, AlphaUnit::kUnit);
    EXPECT_EQ(setting.mode, SteeringMode::kAddRenorm);
    EXPECT_EQ(setting.schedule->text(), "linear,0,1");
    EXPECT_EQ(setting.ramp_in_s, 0.75);
    EXPECT_EQ(setting.probability, 0.5);
    EXPECT_EQ(setting.frame_seed, 18446744073709551615U);
    EXPECT_EQ(setting.weights->text(), "exponential,0.5");
    EXPECT_THAT(*setting.heads, ElementsAre(1, 3));
    EXPECT_EQ(setting.gate->file, "folder/gates/g.safetensors");
    EXPECT_EQ(setting.gate->condition(), "decoder.1.resid_post>0.25");
    EXPECT_EQ(setting.gate->sha256, std::string(64, 'd'));
    EXPECT_EQ(setting.orthogonalize, true);
    // What is read is written again, key by key.
    json expected = full_entry();
    expected["file"] = "folder/vectors/tempo.safetensors";
    expected["gate_file"] = "folder/gates/g.safetensors";
    EXPECT_EQ(setting_json(setting), expected);
}

TEST(SteeringFile, EveryFieldIsTypedPrintedAndRead) {
    const SteeringSetting setting = parse({{"steering", {full_entry()}}}).settings.front();
    std::string typed = setting.file;
    for (const SettingField& field : setting_fields()) {
        if (!field.is_set(setting)) continue;
        typed += ":" + field.flag() + "=" + field.print(setting);
        EXPECT_TRUE(json::parse(field.json_type).is_object()) << field.key;
    }
    const SteeringSetting again = SteeringSetting::parse(typed);
    for (const SettingField& field : setting_fields()) {
        EXPECT_EQ(field.is_set(again), field.is_set(setting)) << field.key;
        if (field.is_set(setting)) EXPECT_EQ(field.print(again), field.print(setting)) << field.key;
    }
}

TEST(SteeringFile, TypedSettingsThatAreWrong) {
    const auto expect_refused = [](const std::string& text, const std::string& message) {
        EXPECT_THAT([&] { SteeringSetting::parse(text); }, ThrowsMessage<UsageError>(StrEq(message)));
    };
    expect_refused("t.st:alpha=", "--steer t.st: alpha: '' is not a finite number");
    expect_refused("t.st:alpha=inf", "--steer t.st: alpha: 'inf' is not a finite number");
    expect_refused("t.st:alpha=1:alpha=2", "--steer t.st: alpha is given twice");
    expect_refused("t.st:layer=2", "--steer t.st: unknown key 'layer', did you mean 'layers'?");
    expect_refused("", "--steer '': expected FILE or FILE:key=value:...");
    expect_refused("t.st:source-layer=1,2", "--steer t.st: source-layer: expected one layer number");
    EXPECT_EQ(SteeringSetting::parse("C:/a:b.st:alpha=2").file, "C:/a:b.st");
}

TEST(SteeringFile, AFileAloneSaysNothingElse) {
    EXPECT_FALSE(parse(with(json::object())).settings.front().has_any());
}

TEST(SteeringFile, LayersAndHeadsAsTextNumberOrList) {
    for (const json& layers : {json("1-2"), json{1, 2}})
        EXPECT_THAT(parse(with({{"layers", layers}})).settings.front().layers->numbers, ElementsAre(1, 2));
    EXPECT_THAT(parse(with({{"layers", 3}})).settings.front().layers->numbers, ElementsAre(3));
    EXPECT_TRUE(parse(with({{"layers", "all"}})).settings.front().layers->all);
    EXPECT_THAT(*parse(with({{"heads", "0,2-3"}})).settings.front().heads, ElementsAre(0, 2, 3));
    EXPECT_THAT(*parse(with({{"heads", "all"}})).settings.front().heads, ElementsAre());
}

TEST(SteeringFile, ErrorsNameThePlace) {
    expect_error(with({{"apha", 1}}), "s.json: steering[0]: unknown key 'apha', did you mean 'alpha'?");
    expect_error({{"steerings", json::array()}}, "s.json: unknown key 'steerings', did you mean 'steering'?");
    expect_error({{"steering", json::array()}}, "s.json: steering: expected at least one vector, found none");
    expect_error({{"steering", {{{"alpha", 1}}}}}, "s.json: steering[0].file: missing");
    expect_error(with({{"alpha", "1"}}), "s.json: steering[0].alpha: expected a number, found text");
    expect_error(with({{"rows", "all"}}),
                 "s.json: steering[0].rows: unknown rows 'all' (known: both, conditional)");
    expect_error(
        with({{"mode", "clamp"}, {"value", 1}, {"alpha", 1}}),
        "s.json: steering[0]: mode clamp has no alpha: value says where the projection on the vector goes");
    expect_error(with({{"gate", "decoder.0.resid_post<0.3"}}), "s.json: steering[0].gate_file: missing");
    expect_error(with({{"gate_file", "g"}}),
                 "s.json: steering[0].gate_file: makes sense with a gate, and there is none");
    expect_error(with({{"layers", json::array()}}),
                 "s.json: steering[0].layers: expected at least one number, found an empty list");
    expect_error({{"format", "musicsteer-preset"}, {"steering", json::array()}},
                 "s.json: format: expected 'musicsteer-steering', found 'musicsteer-preset'");
    EXPECT_THAT(
        [] {
            parse(with({{"schedule", "wave"}}));
        },
        ThrowsMessage<InputError>(HasSubstr("s.json: steering[0].schedule: schedule 'wave': ")));
    EXPECT_THAT(
        [] {
            parse({{"oldest_reader", 2}, {"steering", json::array()}});
        },
        ThrowsMessage<InputError>(HasSubstr("written for a newer musicsteer")));
}

SteeringFile valid_file() {
    json entry = full_entry();
    entry["alpha_range"] = {0.25, 1.0};
    return SteeringFile::parse(json{{"format", "musicsteer-steering"},
                                    {"musicsteer", "0.1.0"},
                                    {"model", {{"name", "tiny"}, {"weights_sha256", std::string(64, 'b')}}},
                                    {"steering", {entry}},
                                    {"evidence", {{"command", "calibrate"}}}}
                                   .dump(),
                               "s.json", "folder");
}

TEST(SteeringFile, SavedAndLoadedItIsTheSame) {
    const TempFolder folder;
    SteeringFile file = valid_file();
    file.settings.front().file = folder / "vectors/tempo.safetensors";
    file.settings.front().gate->file = folder / "gates/g.safetensors";
    file.save(folder / "found/calm.json", Overwrite::kRefuse);
    const SteeringFile again = SteeringFile::load(folder / "found/calm.json");
    EXPECT_EQ(again.model_name, "tiny");
    EXPECT_EQ(again.weights_sha256, std::string(64, 'b'));
    EXPECT_EQ(again.evidence, (json{{"command", "calibrate"}}));
    ASSERT_EQ(again.settings.size(), 1u);
    EXPECT_EQ(setting_json(again.settings[0]), setting_json(file.settings[0]));
    EXPECT_EQ(again.settings[0].alpha_range, (AlphaRange{0.25, 1.0}));
    const json stored = json::parse(read_bytes(folder / "found/calm.json"));
    EXPECT_EQ(stored["steering"][0]["file"], "../vectors/tempo.safetensors");
    EXPECT_EQ(stored["steering"][0]["gate_file"], "../gates/g.safetensors");
}

TEST(SteeringFile, IsNotReplacedUnlessAllowed) {
    const TempFolder folder;
    write_bytes(folder / "calm.json", "mine");
    EXPECT_THROW(valid_file().save(folder / "calm.json", Overwrite::kRefuse), OutputError);
    EXPECT_EQ(read_bytes(folder / "calm.json"), "mine");
    valid_file().save(folder / "calm.json", Overwrite::kAllow);
    EXPECT_EQ(SteeringFile::load(folder / "calm.json").model_name, "tiny");
}

TEST(SteeringFile, WhatMakesNoSenseIsNotSaved) {
    const TempFolder folder;
    const auto expect_refused = [&](const std::function<void(SteeringFile&)>& change) {
        SteeringFile file = valid_file();
        change(file);
        EXPECT_THROW(file.save(folder / "calm.json", Overwrite::kRefuse), UsageError);
    };
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    expect_refused([](SteeringFile& file) { file.settings.clear(); });
    expect_refused([](SteeringFile& file) { file.settings[0].alpha = 1.5; });
    expect_refused([](SteeringFile& file) { file.settings[0].alpha_range->low = 0.75; });
    expect_refused([&](SteeringFile& file) { file.settings[0].alpha = kNan; });
    expect_refused([&](SteeringFile& file) { file.settings[0].alpha_range->high = kInfinite; });
    EXPECT_TRUE(folder.names().empty());
}

TEST(SteeringFile, ClampIsWrittenWithoutAlpha) {
    const TempFolder folder;
    SteeringFile file;
    file.weights_sha256 = std::string(64, 'b');
    SteeringSetting& setting = file.settings.emplace_back();
    setting.file = (folder.path() / "t.safetensors").string();
    setting.sha256 = std::string(64, 'c');
    setting.layers = LayerList{.all = false, .numbers = {1}};
    setting.mode = SteeringMode::kClamp;
    setting.value = -2.5;
    file.save(folder.path() / "s.json", Overwrite::kRefuse);
    const SteeringSetting again = SteeringFile::load(folder.path() / "s.json").settings.front();
    EXPECT_EQ(again.mode, SteeringMode::kClamp);
    EXPECT_EQ(again.value, -2.5);
    EXPECT_FALSE(again.alpha);
}

struct Damage {
    const char* pointer;  ///< JSON pointer to what is replaced
    json value;
    const char* message;
};

class DamagedSteeringFile : public testing::TestWithParam<Damage> {};

TEST_P(DamagedSteeringFile, IsRefusedWithThePlace) {
    json entry = full_entry();
    entry["alpha_range"] = {0.25, 1.0};
    json content = {{"format", "musicsteer-steering"},
                    {"model", {{"name", "tiny"}, {"weights_sha256", std::string(64, 'b')}}},
                    {"steering", {entry}},
                    {"evidence", {{"command", "calibrate"}}}};
    content[json::json_pointer(GetParam().pointer)] = GetParam().value;
    expect_error(content, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    SteeringFile, DamagedSteeringFile,
    testing::Values(
        Damage{"/format", "musicsteer-sweep",
               "s.json: format: expected 'musicsteer-steering', found 'musicsteer-sweep'"},
        Damage{"/model", "tiny", "s.json: model: expected an object, found text"},
        Damage{"/model/weights_sha256", "abc",
               "s.json: model.weights_sha256: expected a SHA-256 (64 digits 0-9, a-f), found 'abc'"},
        Damage{"/steering", json::object(), "s.json: steering: expected a list, found an object"},
        Damage{"/evidence", "trust me", "s.json: evidence: expected an object, found text"},
        Damage{"/steering/0/file", "",
               "s.json: steering[0].file: expected the path of a vector file, found ''"},
        Damage{"/steering/0/alpha", 2.0,
               "s.json: steering[0].alpha: expected a number in alpha_range [0.25,1.0], found 2.0"},
        Damage{"/steering/0/alpha_range", json::array({1.0}),
               "s.json: steering[0].alpha_range: expected two numbers, lowest and highest, found 1"},
        Damage{"/steering/0/alpha_range", json::array({1.0, 0.25}),
               "s.json: steering[0].alpha_range: expected the lower number first"},
        Damage{"/steering/0/layers/1", -1,
               "s.json: steering[0].layers[1]: expected a whole number from 0 to 1024, found -1"},
        Damage{"/steering/0/strategy", "per-layr",
               "s.json: steering[0].strategy: unknown strategy 'per-layr' (known: per-layer, one-to-all, "
               "single), did you mean 'per-layer'?"}));

TEST(SteeringFile, NoJson) {
    EXPECT_THAT([] { SteeringFile::parse("{", "s.json", ""); },
                ThrowsMessage<InputError>(testing::StartsWith("s.json: not JSON: ")));
    EXPECT_THROW(SteeringFile::load("/nowhere/steering.json"), InputError);
}

}  // namespace
}  // namespace musicsteer
