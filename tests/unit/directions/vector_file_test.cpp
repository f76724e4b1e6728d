#include "musicsteer/vector_file.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bundle/manifest.hpp"
#include "io/safetensors.hpp"
#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

VectorFile example() {
    VectorFile file;
    Provenance& provenance = file.provenance;
    provenance.concept_name = "tempo";
    provenance.positive_label = "fast";
    provenance.negative_label = "\"slow\" – 慢";
    provenance.method = "mean-diff";
    provenance.model_name = "tiny";
    provenance.weights_sha256 = "aa";
    provenance.prompts_sha256 = "bb";
    provenance.positions = "window:1-2.5";
    provenance.rows = "both";
    provenance.duration_s = 0.1;
    provenance.guidance_scale = 2.5;
    provenance.top_k = 50;
    provenance.top_p = 0.9;
    provenance.temperature = 1.25;
    provenance.seed = 18446744073709551615ULL;
    provenance.positive_count = 100;
    provenance.negative_count = 99;
    provenance.num_layers = 4;
    provenance.hidden_size = 3;
    file.directions = {{"decoder.2.resid_post", at::tensor({1.0F, 2.0F, -2.0F})},
                       {"decoder.embed", at::tensor({0.5F, 0.0F, 0.0F})}};
    file.stats = {{"decoder.2.resid_post", {3.0, 17.25, 1.5}}, {"decoder.embed", {0.5, 2.0, -0.25}}};
    DirectionStats& stats = file.stats["decoder.2.resid_post"];
    stats.cohens_d = 1.25;
    stats.silhouette = -0.5;
    stats.accuracy = 0.75;
    stats.r = 0.875;
    stats.cosine_to_mean_diff = 1.0;
    return file;
}

class VectorFileTest : public ::testing::Test {
  protected:
    // Saves the example after changing what is in the safetensors file, and expects it to be refused.
    template <typename Change>
    void expect_refused(const Change& change, const std::string& message) const {
        example().save(path_, Overwrite::kAllow);
        TensorFile content = load_tensors(path_);
        change(content);
        save_tensors(path_, content, Overwrite::kAllow);
        EXPECT_THAT([&] { VectorFile::load(path_); },
                    ThrowsMessage<InputError>(HasSubstr(path_.string() + ": " + message)));
    }

    TempFolder folder_;
    std::filesystem::path path_ = folder_ / "tempo.safetensors";
};

TEST_F(VectorFileTest, ReturnsWhatWasSaved) {
    const VectorFile saved = example();
    saved.save(path_, Overwrite::kRefuse);
    const VectorFile loaded = VectorFile::load(path_);
    const Provenance& provenance = loaded.provenance;
    EXPECT_EQ(provenance.concept_name, "tempo");
    EXPECT_EQ(provenance.positive_label, "fast");
    EXPECT_EQ(provenance.negative_label, saved.provenance.negative_label);
    EXPECT_EQ(provenance.method, "mean-diff");
    EXPECT_EQ(provenance.model_name, "tiny");
    EXPECT_EQ(provenance.weights_sha256, "aa");
    EXPECT_EQ(provenance.prompts_sha256, "bb");
    EXPECT_EQ(provenance.positions, "window:1-2.5");
    EXPECT_EQ(provenance.rows, "both");
    EXPECT_EQ(provenance.duration_s, 0.1);
    EXPECT_EQ(provenance.guidance_scale, 2.5);
    EXPECT_EQ(provenance.top_k, 50);
    EXPECT_EQ(provenance.top_p, 0.9);
    EXPECT_EQ(provenance.temperature, 1.25);
    EXPECT_EQ(provenance.seed, 18446744073709551615ULL);
    EXPECT_EQ(provenance.positive_count, 100);
    EXPECT_EQ(provenance.negative_count, 99);
    EXPECT_EQ(provenance.num_layers, 4);
    EXPECT_EQ(provenance.hidden_size, 3);
    ASSERT_EQ(loaded.directions.size(), 2U);
    for (const auto& [name, direction] : saved.directions) {
        EXPECT_TRUE(at::equal(loaded.directions.at(name), direction)) << name;
        EXPECT_EQ(loaded.stats.at(name).norm, saved.stats.at(name).norm);
        EXPECT_EQ(loaded.stats.at(name).mean_residual_norm, saved.stats.at(name).mean_residual_norm);
        EXPECT_EQ(loaded.stats.at(name).effect_size, saved.stats.at(name).effect_size);
        for (const auto& [key, member] : DirectionStats::optional())
            EXPECT_EQ(loaded.stats.at(name).*member, saved.stats.at(name).*member) << key;
    }
}

TEST_F(VectorFileTest, MetadataIsFlatAndReadable) {
    example().save(path_, Overwrite::kRefuse);
    const auto metadata = read_tensor_info(path_).metadata;
    EXPECT_EQ(json::parse(metadata.at("musicsteer")),
              json({{"format", "musicsteer-vectors"}, {"format_version", 1}, {"oldest_reader", 1}}));
    EXPECT_EQ(metadata.at("concept"), "tempo");
    EXPECT_EQ(metadata.at("model"), "tiny");
    EXPECT_EQ(metadata.at("duration_s"), "0.1");
    EXPECT_EQ(metadata.at("seed"), "18446744073709551615");
    EXPECT_EQ(metadata.at("counts"), R"({"negative":99,"positive":100})");
    EXPECT_EQ(json::parse(metadata.at("labels")).at("positive"), "fast");
    EXPECT_EQ(json::parse(metadata.at("layers")).at("decoder.2.resid_post"),
              json({{"norm", 3.0},
                    {"mean_residual_norm", 17.25},
                    {"effect_size", 1.5},
                    {"cohens_d", 1.25},
                    {"silhouette", -0.5},
                    {"accuracy", 0.75},
                    {"r", 0.875},
                    {"cosine_to_mean_diff", 1.0}}));
}

TEST_F(VectorFileTest, SameContentGivesSameBytes) {
    example().save(path_, Overwrite::kRefuse);
    example().save(folder_ / "again", Overwrite::kRefuse);
    EXPECT_EQ(read_bytes(path_), read_bytes(folder_ / "again"));
}

TEST_F(VectorFileTest, IgnoresMetadataThatItDoesNotKnow) {
    example().save(path_, Overwrite::kRefuse);
    TensorFile content = load_tensors(path_);
    content.metadata["probe_accuracy"] = "not JSON";
    content.metadata["musicsteer"] =
        R"({"format":"musicsteer-vectors","format_version":5,"oldest_reader":1})";
    save_tensors(path_, content, Overwrite::kAllow);
    EXPECT_EQ(VectorFile::load(path_).provenance.concept_name, "tempo");
}

TEST_F(VectorFileTest, RefusesFilesOfOthersAndNewerOnes) {
    expect_refused([](TensorFile& content) { content.metadata.clear(); },
                   "a safetensors file without musicsteer's metadata, so no vector file; 'musicsteer "
                   "extract' makes such files, and 'musicsteer import' makes them of other tools' "
                   "vectors");
    expect_refused([](TensorFile& content) { content.metadata["musicsteer"] = "1"; },
                   "metadata.musicsteer: expected an object, found a number");
    expect_refused(
        [](TensorFile& content) {
            content.metadata["musicsteer"] =
                R"({"format":"musicsteer-codes","format_version":1,"oldest_reader":1})";
        },
        "metadata.musicsteer: format: expected 'musicsteer-vectors'");
    expect_refused(
        [](TensorFile& content) {
            content.metadata["musicsteer"] =
                R"({"format":"musicsteer-vectors","format_version":2,"oldest_reader":2})";
        },
        "metadata.musicsteer: written for a newer musicsteer");
}

TEST_F(VectorFileTest, MissesEveryFieldByName) {
    example().save(path_, Overwrite::kRefuse);
    const auto metadata = read_tensor_info(path_).metadata;
    EXPECT_EQ(metadata.size(), 19U);
    for (const auto& [key, value] : metadata) {
        if (key == "musicsteer") continue;
        expect_refused([&](TensorFile& content) { content.metadata.erase(key); },
                       "metadata." + key + ": missing");
    }
}

TEST_F(VectorFileTest, RefusesFieldsOfAWrongType) {
    const auto with = [](const char* key, const char* value) {
        return [key, value](TensorFile& content) { content.metadata[key] = value; };
    };
    expect_refused(with("seed", "-1"), "metadata.seed: expected a whole number of 0 or more, found -1");
    expect_refused(with("seed", "one"), "metadata.seed: not JSON: ");
    expect_refused(with("duration_s", "\"8\""), "metadata.duration_s: expected a number, found text");
    expect_refused(with("duration_s", "NaN"), "metadata.duration_s: not JSON: ");
    expect_refused(with("labels", "[]"), "metadata.labels: expected an object, found a list");
    expect_refused(with("counts", "{}"), "metadata.counts: positive: missing");
    expect_refused(with("num_layers", "1000000000"),
                   "metadata.num_layers: expected a whole number from 1 to ");
    expect_refused(with("num_layers", "0"), "metadata.num_layers: expected a whole number from 1 to ");
    expect_refused(with("hidden_size", "-3"), "metadata.hidden_size: expected a whole number from 1 to ");
    expect_refused(with("layers", "{}"), "metadata.layers: ['decoder.2.resid_post']: missing");
    expect_refused([](TensorFile& content) { content.tensors.erase("decoder.embed"); },
                   "metadata.layers: ['decoder.embed']: no such vector in the file");
}

TEST_F(VectorFileTest, RefusesVectorsThatAreNone) {
    const auto with = [](const char* name, const at::Tensor& tensor) {
        return [name, tensor](TensorFile& content) { content.tensors[name] = tensor; };
    };
    const auto kPoint = "decoder.2.resid_post";
    expect_refused(with(kPoint, at::tensor({1.0F, NAN, 0.0F})),
                   "tensor 'decoder.2.resid_post': value 1 is not finite");
    expect_refused(with(kPoint, at::tensor({1.0F, 0.0F, -INFINITY})),
                   "tensor 'decoder.2.resid_post': value 2 is not finite");
    expect_refused(with(kPoint, at::ones({2})),
                   "tensor 'decoder.2.resid_post': expected F32 [3], found F32 [2]");
    expect_refused(with(kPoint, at::ones({1, 3})),
                   "tensor 'decoder.2.resid_post': expected F32 [3], found F32 [1, 3]");
    expect_refused(with(kPoint, at::ones({3}, at::kHalf)),
                   "tensor 'decoder.2.resid_post': expected F32 [3], found F16 [3]");
    expect_refused(with("decoder.2.resid_pots", at::ones({3})),
                   "unknown hook point 'decoder.2.resid_pots', did you mean 'decoder.2.resid_post'?");
    expect_refused(with("decoder.4.mlp_out", at::ones({3})),
                   "unknown hook point 'decoder.4.mlp_out': the model has layers 0 to 3");
    expect_refused([](TensorFile& content) { content.tensors.clear(); }, "holds no vectors");
}

TEST_F(VectorFileTest, RefusesATruncatedFile) {
    example().save(path_, Overwrite::kRefuse);
    const std::string bytes = read_bytes(path_);
    for (std::size_t length = 0; length < bytes.size(); length += 13) {
        EXPECT_THROW(VectorFile::load(write_bytes(folder_ / "cut", bytes.substr(0, length))), InputError)
            << length;
    }
}

TEST_F(VectorFileTest, WhatOnlySomeFilesHaveComesBack) {
    VectorFile file = example();
    file.provenance.method = "ridge";
    file.provenance.method_settings = R"({"regularization":0.5})";
    file.provenance.value_name = "tempo_bpm";
    file.provenance.recordings = R"({"caption":null,"skipped":2})";
    file.save(path_, Overwrite::kRefuse);
    const Provenance loaded = VectorFile::load(path_).provenance;
    EXPECT_EQ(loaded.method_settings, file.provenance.method_settings);
    EXPECT_EQ(loaded.value_name, "tempo_bpm");
    EXPECT_EQ(loaded.recordings, file.provenance.recordings);
    expect_refused([](TensorFile& content) { content.metadata["recordings"] = "3"; },
                   "metadata.recordings: expected an object");
    example().save(path_, Overwrite::kAllow);
    EXPECT_FALSE(load_tensors(path_).metadata.contains("method_settings"));
}

TEST_F(VectorFileTest, DoesNotSaveWhatItWouldRefuse) {
    const auto refused = [&](const VectorFile& file, const std::string& message) {
        EXPECT_THAT([&] { file.save(path_, Overwrite::kRefuse); },
                    ThrowsMessage<ModelError>(HasSubstr(message)));
    };
    VectorFile file = example();
    file.directions["decoder.embed"] = at::tensor({1.0F, NAN, 0.0F});
    refused(file, "tempo.safetensors: vector 'decoder.embed': not finite");
    file = example();
    file.stats["decoder.embed"].effect_size = INFINITY;
    refused(file, "vector 'decoder.embed': not finite");
    file = example();
    file.stats["decoder.embed"].silhouette = NAN;
    refused(file, "vector 'decoder.embed': not finite");
    file = example();
    file.directions["decoder.embed"] = at::ones({4});
    refused(file, "vector 'decoder.embed': expected float32 [3], found Float [4]");
    file = example();
    file.stats.erase("decoder.embed");
    refused(file, "vector 'decoder.embed': has no statistics");
    file = example();
    file.directions.erase("decoder.embed");
    refused(file, "statistics without a vector");
    EXPECT_EQ(folder_.names(), std::set<std::string>{});
}

TEST_F(VectorFileTest, FitsAModelOfTheSameWidthAndDepth) {
    Manifest manifest;
    manifest.decoder.hidden_size = 3;
    manifest.decoder.num_layers = 4;
    example().check_fits(manifest, "t");
    manifest.decoder.hidden_size = 1024;
    EXPECT_THAT([&] { example().check_fits(manifest, "t"); },
                ThrowsMessage<InputError>(AllOf(HasSubstr("t: "), HasSubstr("3 wide, the model 1024"))));
    manifest.decoder.hidden_size = 3;
    manifest.decoder.num_layers = 5;
    EXPECT_THAT([&] { example().check_fits(manifest, "t"); },
                ThrowsMessage<InputError>(AllOf(HasSubstr("t: "), HasSubstr("4 layers, the model has 5"))));
}

TEST_F(VectorFileTest, OfUnknownWeightsMayBeOfFewerLayers) {
    VectorFile imported = example();  // of 4 layers
    imported.provenance.weights_sha256 = "";
    Manifest manifest;
    manifest.decoder.hidden_size = 3;
    manifest.decoder.num_layers = 5;
    imported.check_fits(manifest, "t");
    manifest.decoder.num_layers = 3;
    EXPECT_THAT([&] { imported.check_fits(manifest, "t"); },
                ThrowsMessage<InputError>(HasSubstr("4 layers, the model has 3")));
}

TEST_F(VectorFileTest, KnowsItsOwnWeights) {
    Manifest manifest;
    manifest.weights_sha256 = "aa";
    EXPECT_TRUE(example().same_weights(manifest));
    manifest.weights_sha256 = "cc";
    EXPECT_FALSE(example().same_weights(manifest));
    VectorFile unknown = example();
    unknown.provenance.weights_sha256 = manifest.weights_sha256 = "";
    EXPECT_FALSE(unknown.same_weights(manifest));  // two models that say nothing are not the same
}

}  // namespace
}  // namespace musicsteer
