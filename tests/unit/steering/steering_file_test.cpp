#include "steering/steering_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
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
    ASSERT_EQ(file.entries.size(), 1u);
    const SteeringEntry& entry = file.entries.front();
    EXPECT_EQ(entry.file, "folder/vectors/tempo.safetensors");
    EXPECT_EQ(entry.sha256, std::string(64, 'c'));
    const SteeringSpec spec = entry.spec(4);
    EXPECT_EQ(spec.alpha, 0.5);
    EXPECT_EQ(spec.strategy, Strategy::kOneToAll);
    EXPECT_THAT(*spec.layers, ElementsAre(0, 2));
    EXPECT_EQ(spec.source_layer, 3);
    EXPECT_EQ(spec.site, Site::kSelfAttnHeads);
    EXPECT_EQ(spec.rows, SteeredRows::kConditional);
    EXPECT_EQ(spec.unit, AlphaUnit::kUnit);
    const SteeringEffect& effect = spec.effect;
    EXPECT_EQ(effect.mode, SteeringMode::kAddRenorm);
    EXPECT_EQ(effect.schedule.text(), "linear,0,1");
    EXPECT_EQ(effect.frames.probability, 0.5);
    EXPECT_EQ(effect.frames.seed, 18446744073709551615U);
    EXPECT_EQ(effect.weights.text(), "exponential,0.5");
    EXPECT_THAT(effect.heads, ElementsAre(1, 3));
    EXPECT_EQ(effect.gate->file, "folder/gates/g.safetensors");
    EXPECT_EQ(effect.gate->condition(), "decoder.1.resid_post>0.25");
    EXPECT_EQ(effect.gate->sha256, std::string(64, 'd'));
    EXPECT_TRUE(effect.orthogonalize);
}

TEST(SteeringFile, AFileAloneHasTheDefaultsOfFlags) {
    const SteeringSpec spec = parse(with(json::object())).entries.front().spec(4);
    EXPECT_EQ(spec.alpha, 1.0);
    EXPECT_EQ(spec.strategy, Strategy::kPerLayer);
    EXPECT_FALSE(spec.layers || spec.source_layer || spec.site || spec.effect.gate);
    EXPECT_EQ(parse(with({{"source_layer", 1}})).entries.front().spec(4).strategy, Strategy::kOneToAll);
}

TEST(SteeringFile, LayersAndHeadsAsTextNumberOrList) {
    for (const json& layers : {json("1-2"), json{1, 2}})
        EXPECT_THAT(*parse(with({{"layers", layers}})).entries.front().spec(4).layers, ElementsAre(1, 2));
    EXPECT_THAT(*parse(with({{"layers", 3}})).entries.front().spec(4).layers, ElementsAre(3));
    EXPECT_THAT(parse(with({{"heads", "0,2-3"}})).entries.front().effect().heads, ElementsAre(0, 2, 3));
    EXPECT_THAT(parse(with({{"heads", "all"}})).entries.front().effect().heads, ElementsAre());
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

AppliedSteering applied(const SteeringEntry& entry) {
    const SteeringSpec spec = entry.spec(4);
    AppliedSteering steering;
    steering.file = entry.file;
    steering.sha256 = *entry.sha256;
    steering.concept_name = "tempo";
    steering.positive_label = "fast";
    steering.negative_label = "slow";
    steering.alpha = spec.alpha;
    steering.strategy = spec.strategy;
    steering.layers = *spec.layers;
    steering.source_layer = spec.source_layer;
    steering.site = *spec.site;
    steering.rows = spec.rows;
    steering.unit = spec.unit;
    steering.effect = spec.effect;
    return steering;
}

TEST(SteeringFile, WhatIsWrittenSaysTheSame) {
    const TempFolder folder;
    const SteeringEntry entry = parse({{"steering", {full_entry()}}}).entries.front();
    AppliedSteering steering = applied(entry);
    steering.file = (folder.path() / "vectors" / "tempo.safetensors").string();
    steering.effect.gate->file = (folder.path() / "gates" / "g.safetensors").string();
    ClipSettings settings;
    settings.model_name = "tiny";
    settings.weights_sha256 = std::string(64, 'b');
    const auto path = folder.path() / "s.json";
    save_steering(path, settings, {steering}, Overwrite::kRefuse);
    const SteeringFile again = SteeringFile::load(path);
    ASSERT_EQ(again.entries.size(), 1u);
    EXPECT_EQ(again.weights_sha256, settings.weights_sha256);
    AppliedSteering read = applied(again.entries.front());
    EXPECT_EQ(read.file, steering.file);
    EXPECT_EQ(steering_json(read), steering_json(steering));
    // From a record, as a preset has it, too.
    EXPECT_EQ(steering_json(applied(SteeringEntry::of(steering))), steering_json(steering));
}

TEST(SteeringFile, ClampIsWrittenWithoutAlpha) {
    const TempFolder folder;
    AppliedSteering steering;
    steering.file = (folder.path() / "t.safetensors").string();
    steering.sha256 = std::string(64, 'c');
    steering.alpha = 1.0;
    steering.layers = {1};
    steering.effect.mode = SteeringMode::kClamp;
    steering.effect.value = -2.5;
    ClipSettings settings;
    settings.weights_sha256 = std::string(64, 'b');
    save_steering(folder.path() / "s.json", settings, {steering}, Overwrite::kRefuse);
    const SteeringSpec spec = SteeringFile::load(folder.path() / "s.json").entries.front().spec(2);
    EXPECT_EQ(spec.effect.mode, SteeringMode::kClamp);
    EXPECT_EQ(spec.effect.value, -2.5);
}

}  // namespace
}  // namespace musicsteer
