#include "experiments/sweep/sweep_plan.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "musicsteer/errors.hpp"
#include "unit/experiments/sweep/sweep_plans.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::set<std::string> ids_of(const SweepPlan& plan) {
    std::set<std::string> ids;
    for (const SweepClip& clip : plan.clips()) ids.insert(clip.id);
    return ids;
}

TEST(SweepPlan, GridIsPromptsTimesSeedsTimesConditionsWithOneUnsteeredClipEach) {
    SweepPlan plan = small_plan();
    const std::vector<SweepClip> clips = plan.clips();
    ASSERT_EQ(clips.size(), 12U);
    EXPECT_EQ(ids_of(plan).size(), 12U);
    EXPECT_EQ(clips[0].spec.prompt, "piano");
    EXPECT_THAT(clips[0].spec.steering, IsEmpty());
    EXPECT_EQ(clips[1].spec.steering.at(0).alpha, -0.5);
    EXPECT_EQ(clips[2].spec.steering.at(0).alpha, 0.5);
    EXPECT_EQ(clips[3].spec.seed, 7U);

    // A second way of steering adds its own strengths, and shares the unsteered clips.
    plan.conditions.push_back(plan.conditions.front());
    plan.conditions.back().steering.layers = LayerList{.all = false, .numbers = {2}};
    EXPECT_EQ(plan.clips().size(), 20U);
    plan.conditions.clear();
    EXPECT_EQ(plan.clips().size(), 4U);
}

TEST(SweepPlan, ConditionsThatComeToTheSameAreOneClip) {
    SweepPlan plan = small_plan();
    plan.conditions.push_back(plan.conditions.front());
    plan.conditions.back().steering.file = "copies/tempo.safetensors";
    EXPECT_EQ(plan.clips().size(), 12U);
}

// The golden IDs: if these change, every sweep's folder of earlier versions is lost. They are
// sha256(canonical JSON)[:20], computed with Python's hashlib from the text in docs/formats.md.
TEST(SweepPlan, IdsAreStable) {
    const std::vector<SweepClip> clips = small_plan().clips();
    EXPECT_EQ(clips[0].id, "8acad0c667cccf061325");
    EXPECT_EQ(clips[1].id, "1a96dd3b9b19c60c5024");
}

TEST(SweepPlan, EverythingThatChangesBytesChangesTheId) {
    const ClipSettings settings = small_plan().settings;
    const ClipSpec spec = small_plan().clips().back().spec;
    std::set<std::string> ids = {clip_id(settings, spec)};
    std::size_t changes = 0;
    const auto with_settings = [&](auto change) {
        ClipSettings changed = settings;
        change(changed);
        ids.insert(clip_id(changed, spec));
        ++changes;
    };
    const auto with_spec = [&](auto change) {
        ClipSpec changed = spec;
        change(changed);
        ids.insert(clip_id(settings, changed));
        ++changes;
    };
    with_settings([](ClipSettings& s) { s.version = "0.2.0"; });
    with_settings([](ClipSettings& s) { s.weights_sha256 = std::string(64, 'd'); });
    with_settings([](ClipSettings& s) { s.num_frames = 41; });
    with_settings([](ClipSettings& s) { s.melody_sha256 = std::string(64, 'e'); });
    with_settings([](ClipSettings& s) { s.sample_format = "float"; });
    with_settings([](ClipSettings& s) { s.sampling.guidance_scale = 2.0; });
    with_settings([](ClipSettings& s) { s.sampling.top_k = 5; });
    with_settings([](ClipSettings& s) { s.sampling.top_p = 0.5; });
    with_settings([](ClipSettings& s) { s.sampling.temperature = 2.0; });
    with_settings([](ClipSettings& s) { s.batch_size = 5; });
    with_settings([](ClipSettings& s) { s.threads = 2; });
    with_settings([](ClipSettings& s) { s.device = "cuda"; });
    with_settings([](ClipSettings& s) { s.precision["decoder"] = "bf16"; });
    with_spec([](ClipSpec& c) { c.prompt = "x"; });
    with_spec([](ClipSpec& c) { c.prompt.reset(); });
    with_spec([](ClipSpec& c) { c.negative_prompt = ""; });
    with_spec([](ClipSpec& c) { c.seed = 1; });
    with_spec([](ClipSpec& c) { c.text_length = 64; });
    with_spec([](ClipSpec& c) { c.steering.clear(); });
    with_spec([](ClipSpec& c) { c.steering[0].alpha = 0.25; });
    with_spec([](ClipSpec& c) { c.steering[0].sha256 = std::string(64, 'd'); });
    with_spec([](ClipSpec& c) { c.steering[0].strategy = Strategy::kSingle; });
    with_spec([](ClipSpec& c) { c.steering[0].layers = {1}; });
    with_spec([](ClipSpec& c) { c.steering[0].source_layer = 2; });
    with_spec([](ClipSpec& c) { c.steering[0].site = Site::kMlpOut; });
    with_spec([](ClipSpec& c) { c.steering[0].rows = SteeredRows::kConditional; });
    with_spec([](ClipSpec& c) { c.steering[0].unit = AlphaUnit::kUnit; });
    EXPECT_EQ(ids.size(), changes + 1);

    with_settings([](ClipSettings& s) { s.model_name = "another name"; });
    with_spec([](ClipSpec& c) { c.steering[0].file = "elsewhere.safetensors"; });
    EXPECT_EQ(ids.size(), changes - 2 + 1) << "names of files and models do not count";
}

TEST(SweepPlan, JsonAndBack) {
    SweepPlan plan = small_plan();
    plan.negative_prompt = "noise";
    plan.shard = {2, 3};
    plan.conditions[0].alphas = {0.1, -0.30000000000000004};
    const SweepPlan again = SweepPlan::parse(plan.to_json(), "plan.written");
    EXPECT_EQ(again.to_json(), plan.to_json());
    EXPECT_EQ(ids_of(again), ids_of(plan));
    EXPECT_EQ(again.model_path, "bundles/tiny");
    const auto written = nlohmann::json::parse(plan.to_json());
    EXPECT_EQ(written["format"], "musicsteer-sweep");
    EXPECT_EQ(written["shard"]["index"], 2);
}

TEST(SweepPlan, DamagedPlanFilesAreRefused) {
    auto intact = nlohmann::json::parse(small_plan().to_json());
    const auto refusal = [](const nlohmann::json& damaged) -> std::string {
        try {
            SweepPlan::parse(damaged.dump(), "plan.json");
        } catch (const InputError& error) {
            return error.what();
        }
        return "nothing was thrown";
    };
    auto damaged = intact;
    damaged["format"] = "musicsteer-codes";
    EXPECT_THAT(refusal(damaged), HasSubstr("musicsteer-sweep"));
    damaged = intact;
    damaged["oldest_reader"] = 2;
    EXPECT_THAT(refusal(damaged), HasSubstr("newer"));
    damaged = intact;
    damaged["steering"][0]["strategy"] = "one-to-al";
    EXPECT_THAT(refusal(damaged), HasSubstr("did you mean 'one-to-all'"));
    damaged = intact;
    damaged["prompts"][1].erase("text");
    EXPECT_THAT(refusal(damaged), HasSubstr("prompts[1].text: missing"));
}

TEST(SweepPlan, ShardsDealOutEveryClipOnce) {
    SweepPlan plan = small_plan();
    plan.seeds.clear();
    for (std::uint64_t seed = 0; seed < 50; ++seed) plan.seeds.push_back(seed);
    const std::set<std::string> all = ids_of(plan);
    std::set<std::string> dealt;
    std::size_t count = 0;
    for (std::int64_t index = 1; index <= 3; ++index) {
        plan.shard = {index, 3};
        const std::set<std::string> part = ids_of(plan);
        EXPECT_GT(part.size(), 60U);  // of 300, a third each
        count += part.size();
        dealt.insert(part.begin(), part.end());
    }
    EXPECT_EQ(count, all.size());
    EXPECT_EQ(dealt, all);
}

TEST(SweepPlan, ShardText) {
    EXPECT_EQ(Shard::parse("2/4").index, 2);
    EXPECT_EQ(Shard::parse("2/4").count, 4);
    for (const char* text : {"", "2", "0/4", "5/4", "1/0", "-1/2", "a/b", "1/2/3", "1/"})
        EXPECT_THROW(Shard::parse(text), UsageError) << text;
}

TEST(SweepPlan, APlanMayGrow) {
    const SweepPlan earlier = small_plan();
    EXPECT_EQ(small_plan().obstacle_to_extending(earlier), "");
    SweepPlan plan = small_plan();
    plan.prompts.insert(plan.prompts.begin(), {"a text so long that it is padded to more", 64});
    plan.seeds = {9, 7, 0};
    plan.conditions[0].alphas.push_back(1.0);
    plan.model_path = plan.conditions[0].steering.file = "moved";
    EXPECT_EQ(plan.obstacle_to_extending(earlier), "");
    EXPECT_THAT(earlier.obstacle_to_extending(plan), HasSubstr("no longer in the plan"));
}

TEST(SweepPlan, WhatAPlanMayNotChangeIsSaid) {
    const auto obstacle = [](auto change) {
        SweepPlan plan = small_plan();
        change(plan);
        return plan.obstacle_to_extending(small_plan());
    };
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.settings.sampling.top_k = 50; }), "top_k was 250 and is 50");
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.settings.batch_size = 8; }),
                "execution.batch_size was 4 and is 8");
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.settings.weights_sha256 = "e"; }),
                HasSubstr("model.weights_sha256 was"));
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.audio = false; }), "audio was true and is false");
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.kl = true; }), "kl was false and is true");
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.negative_prompt = "x"; }),
                "negative_prompt was null and is \"x\"");
    EXPECT_THAT(
        obstacle([](SweepPlan& p) {
            p.conditions[0].alphas = {0.0, 0.5};
        }),
        HasSubstr("4 of the folder's planned clips are no longer in the plan, such as prompt 'piano', "
                  "seed 0, tempo at alpha -0.5"));
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.seeds = {0}; }), HasSubstr("6 of"));
    EXPECT_THAT(obstacle([](SweepPlan& p) { p.shard = {1, 2}; }), HasSubstr("shard was 1/1 and is 1/2"));
}

TEST(SweepPlan, PlansOfShardsAreTheSame) {
    SweepPlan a = small_plan();
    SweepPlan b = small_plan();
    a.shard = {1, 2};
    b.shard = {2, 2};
    b.model_path = "elsewhere";
    b.conditions[0].steering.file = "elsewhere";
    EXPECT_TRUE(a.same_but_for_shard(b));
    b.seeds.push_back(1);
    EXPECT_FALSE(a.same_but_for_shard(b));
}

TEST(SweepRequest, ReadsEveryKey) {
    const SweepRequest request = SweepRequest::parse(R"({
        "model": "bundle", "prompts": ["a", "b"], "prompts_file": "/abs/p.json", "limit": 3,
        "negative_prompt": "n", "seeds": "0:3", "alphas": "-1:1:1",
        "vectors": ["tempo.safetensors", {"file": "sub/b.safetensors", "alphas": [0.5], "layers": [[0, 2], "1"]}],
        "layers": ["all", 4, "2-5", "0+2"], "strategies": ["one-to-all", "single"], "source_layers": [3],
        "sites": "resid_post", "rows": ["both"], "units": "unit,residual",
        "duration_s": 4, "guidance_scale": 2.5, "top_k": 10, "top_p": 0.9, "temperature": 1.5,
        "sample_format": "float", "audio": false, "kl": true, "batch_size": 8, "threads": 2, "device": "cpu"})",
                                                     "plan.json", "plans");
    EXPECT_EQ(request.model, "plans/bundle");
    EXPECT_THAT(request.prompts, ElementsAre("a", "b"));
    EXPECT_EQ(request.prompts_file, "/abs/p.json");
    EXPECT_EQ(request.limit, 3);
    EXPECT_EQ(request.negative_prompt, "n");
    EXPECT_THAT(request.seeds, ElementsAre(0, 1, 2));
    EXPECT_THAT(request.axes.alphas, ElementsAre(-1.0, 0.0, 1.0));
    EXPECT_THAT(request.axes.values.at("layers"), ElementsAre("all", "4", "2-5", "0,2"));
    EXPECT_THAT(request.axes.values.at("strategy"), ElementsAre("one-to-all", "single"));
    EXPECT_THAT(request.axes.values.at("source_layer"), ElementsAre("3"));
    EXPECT_THAT(request.axes.values.at("unit"), ElementsAre("unit", "residual"));
    ASSERT_EQ(request.vectors.size(), 2U);
    EXPECT_EQ(request.vectors[0].setting.file, "plans/tempo.safetensors");
    EXPECT_THAT(request.vectors[1].axes.values.at("layers"), ElementsAre("0,2", "1"));
    EXPECT_THAT(request.vectors[1].axes.alphas, ElementsAre(0.5));
    EXPECT_EQ(request.top_k, 10);
    EXPECT_FALSE(request.audio);
    EXPECT_TRUE(request.kl);
    EXPECT_EQ(request.batch_size, 8);
}

TEST(SweepRequest, RefusesWhatItDoesNotKnow) {
    const auto refusal = [](const std::string& text) -> std::string {
        try {
            SweepRequest::parse(text, "plan.json", "");
        } catch (const Error& error) {
            return error.what();
        }
        return "nothing was thrown";
    };
    EXPECT_THAT(refusal(R"({"alpha": 1})"), HasSubstr("unknown key 'alpha', did you mean 'alphas'"));
    EXPECT_THAT(refusal(R"({"vectors": [{"file": "x", "layer": 1}]})"),
                HasSubstr("vectors[0]: unknown key 'layer', did you mean 'layers'"));
    EXPECT_THAT(refusal(R"({"vectors": [{"alphas": 1}]})"), HasSubstr("vectors[0].file: missing"));
    EXPECT_THAT(refusal(R"({"alphas": []})"), HasSubstr("alphas: expected at least one"));
    EXPECT_THAT(refusal(R"({"alphas": "2:1:1"})"), HasSubstr("empty"));
    EXPECT_THAT(refusal(R"({"seeds": [1.5]})"), HasSubstr("seeds[0]"));
    EXPECT_THAT(refusal(R"({"layers": [["all"]]})"), HasSubstr("layers[0][0]"));
    EXPECT_THAT(refusal(R"({"audio": "no"})"), HasSubstr("true or false"));
    EXPECT_THAT(refusal(R"({"batch_size": 0})"), HasSubstr("batch_size"));
    EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
}

TEST(SweepRequest, LimitCountsTheFilesPrompts) {
    SweepRequest request;
    EXPECT_THROW(request.collect_prompts(), UsageError);
    request.prompts = {"a"};
    request.limit = 1;
    EXPECT_THROW(request.collect_prompts(), UsageError);
    request.prompts_file = std::string(MUSICSTEER_SOURCE_DIR) + "/prompts/neutral.json";
    request.limit = 2;
    EXPECT_THAT(request.collect_prompts(), ElementsAre("a", "piano music", "synth music"));
}

}  // namespace
}  // namespace musicsteer
