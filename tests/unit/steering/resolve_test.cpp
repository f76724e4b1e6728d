#include "steering/resolve.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::Pointwise;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::floats;

const DecoderDims kDims = {.num_layers = 4, .hidden_size = 2, .num_heads = 2, .head_size = 1};

TEST(SteeringNames, GoBothWays) {
    for (const std::string name : {"per-layer", "one-to-all", "single"})
        EXPECT_EQ(to_text(parse_strategy(name)), name);
    for (const std::string name : {"both", "conditional"}) EXPECT_EQ(to_text(parse_steered_rows(name)), name);
    for (const std::string name : {"difference", "unit", "residual"})
        EXPECT_EQ(to_text(parse_alpha_unit(name)), name);
    for (const std::string name : {"add", "add-renorm", "ablate", "clamp"})
        EXPECT_EQ(to_text(parse_steering_mode(name)), name);
}

TEST(SteeringNames, UnknownOnesGetTheKnownOnes) {
    EXPECT_THAT(
        [] { parse_strategy("perlayer"); },
        ThrowsMessage<UsageError>(StrEq("unknown strategy 'perlayer' (known: per-layer, one-to-all, single), "
                                        "did you mean 'per-layer'?")));
    EXPECT_THAT([] { parse_steered_rows("null"); },
                ThrowsMessage<UsageError>(StrEq("unknown rows 'null' (known: both, conditional)")));
    EXPECT_THAT([] { parse_alpha_unit(""); },
                ThrowsMessage<UsageError>(StrEq("unknown unit '' (known: difference, unit, residual)")));
    EXPECT_THAT(
        [] { parse_alpha_unit("x\n"); },
        ThrowsMessage<UsageError>(StrEq("unknown unit 'x\\x0a' (known: difference, unit, residual)")));
}

TEST(ParseLayers, NumbersAndRanges) {
    EXPECT_THAT(parse_layers("3", 12), ElementsAre(3));
    EXPECT_THAT(parse_layers("2-5,7", 12), ElementsAre(2, 3, 4, 5, 7));
    EXPECT_THAT(parse_layers("0-0", 12), ElementsAre(0));
    EXPECT_THAT(parse_layers("11", 12), ElementsAre(11));
    EXPECT_THAT(parse_layers("all", 3), ElementsAre(0, 1, 2));
    EXPECT_THAT(parse_layers("0-2", 3), ElementsAre(0, 1, 2));
}

TEST(ParseLayers, AreSortedWithoutRepetition) {
    EXPECT_THAT(parse_layers("7,2-4,3,2", 12), ElementsAre(2, 3, 4, 7));
    EXPECT_THAT(parse_layers("03", 12), ElementsAre(3));
}

TEST(ParseLayers, TextIsReadBack) {
    EXPECT_EQ(to_text(std::vector<std::int64_t>{2, 3, 7}), "2,3,7");
    EXPECT_THAT(parse_layers(to_text(std::vector<std::int64_t>{0, 4, 11}), 12), ElementsAre(0, 4, 11));
}

TEST(ParseLayers, Malformed) {
    for (const std::string text :
         {"",   ",",    "3-", "-",   "1,,2", "1,",  ",1",    "all,2", "2,all", "ALL", "2 - 3", " 2",
          "2 ", "1, 2", "+1", "1.5", "0x1",  "two", "1-2-3", "1-x",   "1;2",   "1\t", "2-,3",  "--"}) {
        EXPECT_THAT([&] { parse_layers(text, 12); },
                    ThrowsMessage<UsageError>(StrEq("layers " + in_quotes(text) +
                                                    ": expected numbers and ranges such as 2-5,7, or all")));
    }
    EXPECT_THROW(parse_layers(std::string("1\0002", 3), 12), UsageError);
}

TEST(ParseLayers, LayersThatTheModelLacks) {
    for (const std::string text : {"12", "-3", "10-12", "0-99999999", "0,12", "1--2", "99999999999999999999",
                                   "0-99999999999999999999", "-99999999999999999999"}) {
        EXPECT_THAT([&] { parse_layers(text, 12); },
                    ThrowsMessage<UsageError>(StrEq("layers '" + text + "': the model has layers 0 to 11")));
    }
}

TEST(ParseLayers, RangesRunUpwards) {
    EXPECT_THAT([] { parse_layers("5-2", 12); },
                ThrowsMessage<UsageError>(StrEq("layers '5-2': a range runs from low to high")));
}

void put(VectorFile& file, const HookPoint& point, const std::vector<float>& vector, DirectionStats stats) {
    file.directions[point.name()] = at::tensor(vector);
    file.stats[point.name()] = stats;
}

/// Layers 0, 1 and 3 of a four-layer model. Norms 5, 2, 1; residual norms 10, 20, 40; layer 1 has the largest
/// effect.
VectorFile three_layers() {
    VectorFile file;
    put(file, HookPoint::at(0, Site::kResidPost), {3, 4}, {5, 10, 0.5});
    put(file, HookPoint::at(1, Site::kResidPost), {0, 2}, {2, 20, 2.0});
    put(file, HookPoint::at(3, Site::kResidPost), {1, 0}, {1, 40, 1.0});
    return file;
}

LayerList layers_of(std::vector<std::int64_t> numbers) {
    return {.all = false, .numbers = std::move(numbers)};
}

ResolvedSteering resolve(const SteeringSetting& spec, const VectorFile& file = three_layers()) {
    return resolve_steering(file, spec, kDims);
}

std::vector<double> strengths(const ResolvedSteering& resolved) {
    std::vector<double> result;
    for (const Injection& injection : resolved.plan) result.push_back(injection.strength);
    return result;
}

std::vector<std::string> points(const ResolvedSteering& resolved) {
    std::vector<std::string> result;
    for (const Injection& injection : resolved.plan) result.push_back(injection.point.name());
    return result;
}

void expect_error(const SteeringSetting& spec, const std::string& message,
                  const VectorFile& file = three_layers()) {
    EXPECT_THAT([&] { resolve(spec, file); }, ThrowsMessage<UsageError>(StrEq(message)));
}

SteeringSetting spec_of(Strategy strategy, AlphaUnit unit = AlphaUnit::kDifference, double alpha = 1.5) {
    SteeringSetting spec;
    spec.file = "tempo.safetensors";
    spec.alpha = alpha;
    spec.strategy = strategy;
    spec.unit = unit;
    return spec;
}

TEST(ResolvePerLayer, EveryVectorGoesToItsOwnLayer) {
    const ResolvedSteering resolved = resolve(spec_of(Strategy::kPerLayer));
    EXPECT_THAT(points(resolved),
                ElementsAre("decoder.0.resid_post", "decoder.1.resid_post", "decoder.3.resid_post"));
    EXPECT_THAT(floats(resolved.plan[0].vector), ElementsAre(3, 4));
    EXPECT_THAT(floats(resolved.plan[1].vector), ElementsAre(0, 2));
    EXPECT_THAT(floats(resolved.plan[2].vector), ElementsAre(1, 0));
    EXPECT_THAT(strengths(resolved), ElementsAre(1.5, 1.5, 1.5));
    EXPECT_THAT(resolved.setting.layers->numbers, ElementsAre(0, 1, 3));
    EXPECT_FALSE(resolved.setting.source_layer);
    EXPECT_EQ(*resolved.setting.site, Site::kResidPost);
}

TEST(ResolvePerLayer, ChosenLayersMustHaveVectors) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.layers = layers_of({1, 3});
    EXPECT_THAT(resolve(spec).setting.layers->numbers, ElementsAre(1, 3));
    spec.layers = layers_of({1, 2});
    expect_error(spec, "tempo.safetensors: has no vector for layer 2 at resid_post (it has layers 0,1,3)");
}

TEST(ResolvePerLayer, HasNoSourceLayer) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.source_layer = 1;
    expect_error(spec, "a source layer needs strategy one-to-all or single, not per-layer");
}

TEST(ResolvePerLayer, UnitsOfAlpha) {
    EXPECT_THAT(strengths(resolve(spec_of(Strategy::kPerLayer, AlphaUnit::kUnit))),
                Pointwise(DoubleEq(), {1.5 / 5, 1.5 / 2, 1.5}));
    EXPECT_THAT(strengths(resolve(spec_of(Strategy::kPerLayer, AlphaUnit::kResidual))),
                Pointwise(DoubleEq(), {1.5 / 5 * 10, 1.5 / 2 * 20, 1.5 * 40}));
}

TEST(ResolvePerLayer, UnitResidualNeedsTheResidualNorm) {
    VectorFile imported = three_layers();
    imported.stats["decoder.1.resid_post"].mean_residual_norm = 0.0;
    expect_error(
        spec_of(Strategy::kPerLayer, AlphaUnit::kResidual),
        "tempo.safetensors: unit residual needs the mean residual norm of layer 1, which the file does "
        "not hold (imported vectors have none): use unit difference or unit",
        imported);
}

TEST(ResolveOneToAll, LargestEffectGoesIntoEveryLayer) {
    const ResolvedSteering resolved = resolve(spec_of(Strategy::kOneToAll));
    EXPECT_EQ(resolved.setting.source_layer, 1);
    EXPECT_THAT(resolved.setting.layers->numbers, ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(strengths(resolved), ElementsAre(1.5, 1.5, 1.5, 1.5));
    for (const Injection& injection : resolved.plan) EXPECT_THAT(floats(injection.vector), ElementsAre(0, 2));
}

TEST(ResolveOneToAll, SourceAndLayersCanBeChosen) {
    SteeringSetting spec = spec_of(Strategy::kOneToAll);
    spec.source_layer = 0;
    spec.layers = layers_of({1, 2});
    const ResolvedSteering resolved = resolve(spec);
    EXPECT_EQ(resolved.setting.source_layer, 0);
    EXPECT_THAT(points(resolved), ElementsAre("decoder.1.resid_post", "decoder.2.resid_post"));
    EXPECT_THAT(floats(resolved.plan[1].vector), ElementsAre(3, 4));
    spec.source_layer = 2;
    expect_error(spec, "tempo.safetensors: has no vector for layer 2 at resid_post (it has layers 0,1,3)");
}

TEST(ResolveOneToAll, UnitsOfAlpha) {
    EXPECT_THAT(strengths(resolve(spec_of(Strategy::kOneToAll, AlphaUnit::kUnit))),
                Pointwise(DoubleEq(), {0.75, 0.75, 0.75, 0.75}));
    SteeringSetting spec = spec_of(Strategy::kOneToAll, AlphaUnit::kResidual);
    spec.layers = layers_of({0, 3});  // the residual norm is that of the layer that is steered
    EXPECT_THAT(strengths(resolve(spec)), Pointwise(DoubleEq(), {0.75 * 10, 0.75 * 40}));
    spec.layers.reset();
    expect_error(spec, "tempo.safetensors: has no vector for layer 2 at resid_post (it has layers 0,1,3)");
}

TEST(ResolveSingle, DefaultsToTheLayerOfLargestEffect) {
    const ResolvedSteering resolved = resolve(spec_of(Strategy::kSingle));
    EXPECT_EQ(resolved.setting.source_layer, 1);
    EXPECT_THAT(resolved.setting.layers->numbers, ElementsAre(1));
    EXPECT_THAT(floats(resolved.plan[0].vector), ElementsAre(0, 2));
}

TEST(ResolveSingle, LayerAloneIsItsOwnSource) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    spec.layers = layers_of({3});
    const ResolvedSteering resolved = resolve(spec);
    EXPECT_EQ(resolved.setting.source_layer, 3);
    EXPECT_THAT(resolved.setting.layers->numbers, ElementsAre(3));
    EXPECT_THAT(floats(resolved.plan[0].vector), ElementsAre(1, 0));
    spec.layers = layers_of({2});
    expect_error(spec, "tempo.safetensors: has no vector for layer 2 at resid_post (it has layers 0,1,3)");
}

TEST(ResolveSingle, SourceMayGoIntoAnotherLayer) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    spec.source_layer = 0;
    EXPECT_THAT(resolve(spec).setting.layers->numbers, ElementsAre(0));
    spec.layers = layers_of({2});
    const ResolvedSteering resolved = resolve(spec);
    EXPECT_EQ(resolved.setting.source_layer, 0);
    EXPECT_THAT(points(resolved), ElementsAre("decoder.2.resid_post"));
    EXPECT_THAT(floats(resolved.plan[0].vector), ElementsAre(3, 4));
}

TEST(ResolveSingle, SteersOneLayer) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    spec.layers = layers_of({0, 1});
    expect_error(spec, "strategy single steers one layer, but --layers names 2");
}

VectorFile without_effect_sizes() {
    VectorFile file = three_layers();
    for (auto& [name, stats] : file.stats) stats.effect_size = 0.0;
    return file;
}

TEST(ResolveWithoutEffectSizes, TheSourceLayerMustBeNamed) {
    const std::string message =
        "tempo.safetensors: the file has no effect sizes to choose a layer by; name the source "
        "layer (--source-layer)";
    for (const Strategy strategy : {Strategy::kSingle, Strategy::kOneToAll}) {
        SteeringSetting spec = spec_of(strategy);
        expect_error(spec, message, without_effect_sizes());
        spec.source_layer = 3;
        EXPECT_EQ(resolve(spec, without_effect_sizes()).setting.source_layer, 3);
    }
    EXPECT_THAT(resolve(spec_of(Strategy::kPerLayer), without_effect_sizes()).setting.layers->numbers,
                ElementsAre(0, 1, 3));
}

TEST(ResolveWithoutEffectSizes, TheOnlyLayerIsTheSource) {
    VectorFile file;
    put(file, HookPoint::at(3, Site::kResidPost), {1, 0}, {1, 0, 0.0});
    EXPECT_EQ(resolve(spec_of(Strategy::kSingle), file).setting.source_layer, 3);
}

TEST(ResolveWithoutEffectSizes, WeightsMustBeUniform) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.weights = LayerWeights::parse("top-2");
    expect_error(spec,
                 "tempo.safetensors: the file has no effect sizes to choose a layer by; use "
                 "weights uniform",
                 without_effect_sizes());
}

TEST(ResolveSteering, RowsArePassedOn) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    EXPECT_EQ(resolve(spec).plan[0].rows, SteeredRows::kBoth);
    spec.rows = SteeredRows::kConditional;
    EXPECT_EQ(resolve(spec).plan[0].rows, SteeredRows::kConditional);
}

TEST(ResolveSteering, AlphaZeroIsAPlanOfStrengthZero) {
    for (const AlphaUnit unit : {AlphaUnit::kDifference, AlphaUnit::kUnit, AlphaUnit::kResidual}) {
        EXPECT_THAT(strengths(resolve(spec_of(Strategy::kPerLayer, unit, 0.0))), ElementsAre(0, 0, 0));
    }
}

TEST(ResolveSteering, AlphaMustBeFinite) {
    for (const double alpha : {std::nan(""), std::numeric_limits<double>::infinity()}) {
        expect_error(spec_of(Strategy::kPerLayer, AlphaUnit::kDifference, alpha),
                     "alpha must be a finite number");
    }
}

TEST(ResolveSteering, EffectIsPassedOn) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    spec.mode = SteeringMode::kAddRenorm;
    spec.schedule = Schedule::parse("decay,0.5");
    spec.ramp_in_s = 0.5;
    spec.probability = 0.25;
    spec.frame_seed = 9;
    const Injection injection = resolve(spec).plan[0];
    EXPECT_EQ(injection.mode, SteeringMode::kAddRenorm);
    EXPECT_EQ(injection.course.schedule.text(), "decay,0.5,0");
    EXPECT_EQ(injection.course.frames.probability, 0.25);
    EXPECT_EQ(injection.course.frames.seed, 9u);
    EXPECT_EQ(injection.course.ramp_in_s, 0.5);
}

TEST(ResolveSteering, ModesThatProjectTakeAlphaAsAShare) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.mode = SteeringMode::kAblate;
    EXPECT_THAT(strengths(resolve(spec)), ElementsAre(1.5, 1.5, 1.5));
    spec.mode = SteeringMode::kClamp;
    spec.value = -3.0;
    spec.alpha.reset();
    EXPECT_THAT(strengths(resolve(spec)), ElementsAre(1, 1, 1));
}

TEST(ResolveSteering, EffectsThatContradictThemselves) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.value = 1.0;
    expect_error(spec, "value needs mode clamp");
    spec.value.reset();
    spec.mode = SteeringMode::kClamp;
    spec.alpha.reset();
    expect_error(spec, "mode clamp needs a value, the resulting projection on the vector");
    spec.value = std::nan("");
    expect_error(spec, "value must be a finite number");
    spec = spec_of(Strategy::kPerLayer);
    spec.probability = 1.5;
    expect_error(spec, "probability must be between 0 and 1");
    spec.probability = std::nan("");
    expect_error(spec, "probability must be between 0 and 1");
    spec = spec_of(Strategy::kPerLayer, AlphaUnit::kUnit);
    spec.mode = SteeringMode::kAblate;
    expect_error(spec, "unit unit has no meaning with mode ablate, which uses only the vector's direction");
}

TEST(ResolveSteering, MoreThatContradicts) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.frame_seed = 3;
    expect_error(spec, "frame-seed needs probability");
    spec = spec_of(Strategy::kPerLayer);
    spec.ramp_in_s = -1.0;
    expect_error(spec, "ramp-in-s must be 0 or a positive number of seconds");
    spec = spec_of(Strategy::kPerLayer);
    spec.mode = SteeringMode::kClamp;
    spec.value = 1.0;
    expect_error(spec, "mode clamp has no alpha: set value, the resulting projection on the vector");
    spec = spec_of(Strategy::kOneToAll);
    spec.source_layer = 4;
    expect_error(spec, "source layer 4: the model has layers 0 to 3");
}

TEST(ResolveSteering, DefaultsAreDecidedAndLeftOut) {
    SteeringSetting spec;
    spec.file = "tempo.safetensors";
    spec.mode = SteeringMode::kAdd;
    spec.schedule = Schedule();
    spec.ramp_in_s = 0.0;
    spec.probability = 1.0;
    spec.frame_seed = 7;
    spec.heads = std::vector<std::int64_t>{};
    spec.weights = LayerWeights();
    spec.orthogonalize = false;
    const SteeringSetting decided = resolve(spec).setting;
    EXPECT_EQ(decided.alpha, 1.0);
    EXPECT_EQ(decided.strategy, Strategy::kPerLayer);
    EXPECT_EQ(decided.rows, SteeredRows::kBoth);
    EXPECT_EQ(decided.unit, AlphaUnit::kDifference);
    EXPECT_FALSE(decided.mode || decided.schedule || decided.ramp_in_s || decided.probability ||
                 decided.frame_seed || decided.heads || decided.weights || decided.orthogonalize);
    spec.frame_seed.reset();
    spec.probability = 0.5;
    EXPECT_EQ(resolve(spec).setting.frame_seed, 0u);  // a record says which
}

TEST(ResolveWeights, LayersByEffectSize) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.weights = LayerWeights::parse("exponential,0.5");
    EXPECT_THAT(strengths(resolve(spec)), ElementsAre(1.5 * 0.25, 1.5, 1.5 * 0.5));
    spec.weights = LayerWeights::parse("top-2");
    const ResolvedSteering best = resolve(spec);
    EXPECT_THAT(best.setting.layers->numbers, ElementsAre(1, 3));
    EXPECT_THAT(strengths(best), ElementsAre(1.5, 1.5));
    spec.layers = best.setting.layers;  // as a record has it
    EXPECT_THAT(resolve(spec).setting.layers->numbers, ElementsAre(1, 3));
    spec.layers = layers_of({1});
    expect_error(spec, "weights top-2: K is larger than the number of steered layers, 1");
}

TEST(ResolveWeights, OfOneToAllNeedVectorsAtItsLayers) {
    SteeringSetting spec = spec_of(Strategy::kOneToAll, AlphaUnit::kUnit);
    spec.weights = LayerWeights::parse("exponential,0.5");
    expect_error(spec, "tempo.safetensors: has no vector for layer 2 at resid_post (it has layers 0,1,3)");
    spec.layers = layers_of({0, 3});
    EXPECT_THAT(strengths(resolve(spec)), ElementsAre(0.375, 0.75));
}

TEST(ResolveWeights, HaveNoMeaningForOneLayer) {
    SteeringSetting spec = spec_of(Strategy::kSingle);
    spec.weights = LayerWeights::parse("top-1");
    expect_error(spec, "weights top-1 have no meaning with strategy single");
}

VectorFile heads_file() {
    VectorFile file;
    put(file, HookPoint::at(1, Site::kSelfAttnHeads), {3, 4}, {5, 10, 1});
    return file;
}

TEST(ResolveHeads, VectorIsThatOfTheChosenHeads) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer, AlphaUnit::kUnit);
    spec.heads = std::vector<std::int64_t>{1};
    const Injection chosen = resolve(spec, heads_file()).plan[0];
    EXPECT_THAT(floats(chosen.vector), ElementsAre(0, 4));
    EXPECT_EQ(chosen.strength, 1.5 / 4);
    EXPECT_TRUE(at::equal(chosen.mask, at::tensor({0, 1}).to(at::kBool)));
    spec.heads.reset();
    EXPECT_FALSE(resolve(spec, heads_file()).plan[0].mask.defined());
}

TEST(ResolveHeads, Errors) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.heads = std::vector<std::int64_t>{0};
    expect_error(spec, "heads are chosen at site self_attn_heads, and tempo.safetensors steers resid_post");
    spec.heads = std::vector<std::int64_t>{0, 2};
    expect_error(spec, "heads '0,2': the model has heads 0 to 1", heads_file());
    EXPECT_THAT(parse_heads("0,3-5"), ElementsAre(0, 3, 4, 5));
    EXPECT_THAT(parse_heads("all"), ElementsAre());
    EXPECT_THAT(
        [] { parse_heads("first"); },
        ThrowsMessage<UsageError>(StrEq("heads 'first': expected numbers and ranges such as 2-5,7, or all")));
}

TEST(ResolveSteering, ZeroVectorHasNoUnit) {
    VectorFile file;
    put(file, HookPoint::at(2, Site::kMlpOut), {0, 0}, {});
    EXPECT_THAT(strengths(resolve(spec_of(Strategy::kPerLayer), file)), ElementsAre(1.5));
    for (const AlphaUnit unit : {AlphaUnit::kUnit, AlphaUnit::kResidual}) {
        expect_error(spec_of(Strategy::kPerLayer, unit), "tempo.safetensors: the vector of layer 2 is zero",
                     file);
    }
    SteeringSetting ablating = spec_of(Strategy::kPerLayer);
    ablating.mode = SteeringMode::kAblate;
    expect_error(ablating, "tempo.safetensors: the vector of layer 2 is zero", file);
}

TEST(ResolveSteering, SiteMustBeChosenAmongSeveral) {
    VectorFile file = three_layers();
    put(file, HookPoint::at(2, Site::kMlpOut), {7, 7}, {1, 1, 9});
    SteeringSetting spec = spec_of(Strategy::kSingle);
    expect_error(
        spec,
        "tempo.safetensors: has vectors for several sites (mlp_out, resid_post), choose one with --site",
        file);
    spec.site = Site::kMlpOut;
    EXPECT_THAT(points(resolve(spec, file)), ElementsAre("decoder.2.mlp_out"));
    spec.site = Site::kResidPost;
    EXPECT_THAT(points(resolve(spec, file)),
                ElementsAre("decoder.1.resid_post"));  // not layer 2 of the other site
    spec.site = Site::kResidPre;
    expect_error(spec, "tempo.safetensors: has no vectors for site resid_pre, only for mlp_out, resid_post",
                 file);
}

TEST(ResolveSteering, SiteThatTheFileLacks) {
    SteeringSetting spec = spec_of(Strategy::kPerLayer);
    spec.site = Site::kMlpOut;
    expect_error(spec, "tempo.safetensors: has no vectors for site mlp_out, only for resid_post");
}

TEST(ResolveSteering, FileWithoutLayers) {
    VectorFile file;
    expect_error(spec_of(Strategy::kPerLayer), "tempo.safetensors: holds no vector of a layer", file);
    put(file, HookPoint::embed(), {1, 1}, {});
    put(file, HookPoint::final_norm(), {1, 1}, {});
    expect_error(spec_of(Strategy::kOneToAll), "tempo.safetensors: holds no vector of a layer", file);
}

TEST(ResolveSteering, FileOfADeeperModel) {
    VectorFile file = three_layers();
    put(file, HookPoint::at(4, Site::kResidPost), {1, 1}, {});
    expect_error(spec_of(Strategy::kPerLayer),
                 "unknown hook point 'decoder.4.resid_post': the model has layers 0 to 3", file);
}

TEST(ResolveSteering, NegativeLayerIsNoOtherHookPoint) {
    SteeringSetting spec = spec_of(Strategy::kOneToAll);
    spec.layers = layers_of({-1});
    expect_error(spec, "layers '-1': the model has layers 0 to 3");
}

}  // namespace
}  // namespace musicsteer
