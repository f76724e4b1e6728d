#include "directions/direction_methods.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "directions/random_directions.hpp"
#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::cosine;
using testing_support::noise;

constexpr DirectionMethod kFitted[] = {DirectionMethod::kMeanDiff,  DirectionMethod::kPca,
                                       DirectionMethod::kPcaCenter, DirectionMethod::kLogistic,
                                       DirectionMethod::kRidge,     DirectionMethod::kRfm};

/// Two sides of noise about +-strength times a direction, where the strength differs from pair to pair.
struct Planted {
    at::Tensor direction;
    TrainingSet set;
};

Planted planted(std::int64_t prompts, std::int64_t width, double offset) {
    Planted made;
    made.direction = noise(1, width, 7)[0];
    made.direction = made.direction / made.direction.norm();
    const at::Tensor strength = at::linspace(2.0, 14.0, prompts, at::kDouble);
    const auto along = [&](double sign) {
        return sign * strength.unsqueeze(1) * made.direction.unsqueeze(0);
    };
    made.set.positive = 0.3 * noise(prompts, width, 8) + along(1.0) + offset;
    made.set.negative = 0.3 * noise(prompts, width, 9) + along(-1.0) + offset;
    made.set.positive_values = 100.0 + strength;
    made.set.negative_values = 100.0 - strength;
    made.set.paired = true;
    return made;
}

MethodOptions with(DirectionMethod method) {
    MethodOptions options;
    options.method = method;
    return options;
}

PooledSide pooled(const at::Tensor& rows) {
    return {rows.to(at::kFloat), rows.to(at::kFloat).norm(2, {1})};
}

PromptRelations relations_of(const TrainingSet& set) {
    const auto list = [](const at::Tensor& values) {
        return std::vector<double>(values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
    };
    return {set.paired, list(set.positive_values), list(set.negative_values)};
}

class EveryMethod : public testing::TestWithParam<DirectionMethod> {};
INSTANTIATE_TEST_SUITE_P(DirectionMethods, EveryMethod, testing::ValuesIn(kFitted), [](const auto& method) {
    std::string name = to_text(method.param);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

// Fewer prompts than numbers, and more.
TEST_P(EveryMethod, FindsAPlantedDirection) {
    for (const std::int64_t width : {16, 200}) {
        const Planted made = planted(30, width, 5.0);
        const at::Tensor found = fit_direction(made.set, with(GetParam()));
        // Where prompts are few, the probes fit some of the noise.
        EXPECT_GT(cosine(found, made.direction), 0.92) << width;
        EXPECT_NEAR(found.norm().item<double>(), 1.0, 1e-12);
    }
}

TEST_P(EveryMethod, SwappedSidesPointTheOtherWay) {
    const Planted made = planted(12, 40, 0.0);
    TrainingSet swapped = made.set;
    std::swap(swapped.positive, swapped.negative);
    std::swap(swapped.positive_values, swapped.negative_values);
    swapped.positive_values = 200.0 - swapped.positive_values;
    swapped.negative_values = 200.0 - swapped.negative_values;
    const MethodOptions options = with(GetParam());
    EXPECT_NEAR(cosine(fit_direction(made.set, options), fit_direction(swapped, options)), -1.0, 1e-9);
}

TEST_P(EveryMethod, DoesNotDependOnOriginOrScale) {
    const Planted made = planted(12, 40, 0.0);
    TrainingSet moved = made.set;
    moved.positive = moved.positive * 50.0 + 700.0;
    moved.negative = moved.negative * 50.0 + 700.0;
    const MethodOptions options = with(GetParam());
    EXPECT_GT(cosine(fit_direction(made.set, options), fit_direction(moved, options)), 1.0 - 1e-9);
}

TEST_P(EveryMethod, HasTheNormOfTheDifferenceInMeans) {
    const Planted made = planted(12, 40, 1.0);
    const PooledSide positive = pooled(made.set.positive), negative = pooled(made.set.negative);
    const Direction difference = difference_in_means(positive, negative);
    const Direction found = find_direction(positive, negative, relations_of(made.set), with(GetParam()));
    EXPECT_NEAR(found.vector.norm().item<double>(), difference.stats.norm, 1e-4);
    EXPECT_DOUBLE_EQ(found.stats.norm, difference.stats.norm);
    EXPECT_DOUBLE_EQ(found.stats.mean_residual_norm, difference.stats.mean_residual_norm);
    EXPECT_NEAR(found.stats.cosine_to_mean_diff.value(), cosine(found.vector, difference.vector), 1e-6);
    EXPECT_DOUBLE_EQ(found.stats.accuracy.value(), 1.0);
    EXPECT_GT(found.stats.r.value(), 0.95);
    EXPECT_GT(found.stats.cohens_d.value(), 2.0);
    EXPECT_GT(found.stats.effect_size, 2.0);
    if (GetParam() == DirectionMethod::kMeanDiff) {
        EXPECT_TRUE(at::equal(found.vector, difference.vector));
        EXPECT_EQ(found.stats.effect_size, difference.stats.effect_size);
    }
}

TEST_P(EveryMethod, EqualSidesAreRefusedOrZero) {
    const at::Tensor rows = at::ones({4, 6}, at::kDouble);
    PromptRelations relations{true, {4, 5, 6, 7}, {0, 1, 2, 3}};
    const PooledSide side = pooled(rows);
    if (GetParam() == DirectionMethod::kMeanDiff) {
        EXPECT_EQ(find_direction(side, side, relations, with(GetParam())).stats.norm, 0.0);
        return;
    }
    EXPECT_THAT([&] { find_direction(side, side, relations, with(GetParam())); },
                ThrowsMessage<InputError>(HasSubstr("do not differ")));
}

TEST(DirectionMethods, PcaLosesTheMeanDifferenceAndPcaCenterKeepsIt) {
    // All pairs differ by 10 along the first axis, and by +-1 along the second.
    TrainingSet set;
    set.negative = at::zeros({4, 3}, at::kDouble);
    set.positive = at::tensor(std::vector<double>{10, 1, 0, 10, -1, 0, 10, 1, 0, 10, -1, 0.5}).view({4, 3});
    set.paired = true;
    EXPECT_GT(std::abs(fit_direction(set, with(DirectionMethod::kPca))[1].item<double>()), 0.9);
    EXPECT_GT(fit_direction(set, with(DirectionMethod::kPcaCenter))[0].item<double>(), 0.99);
}

TEST(DirectionMethods, MoreRegularizationTurnsRidgeTowardsTheCovariance) {
    const Planted made = planted(12, 40, 0.0);
    MethodOptions strong = with(DirectionMethod::kRidge);
    strong.regularization = 1e9;
    const at::Tensor rows = at::cat({made.set.positive, made.set.negative});
    const at::Tensor values = at::cat({made.set.positive_values, made.set.negative_values});
    const at::Tensor covariance = (rows - rows.mean(0)).t().matmul(values - values.mean());
    EXPECT_NEAR(cosine(fit_direction(made.set, strong), covariance), 1.0, 1e-6);
}

TEST(DirectionMethods, NamesRoundTrip) {
    for (const char* name : {"mean-diff", "pca", "pca-center", "logistic", "ridge", "rfm", "random"})
        EXPECT_EQ(to_text(parse_direction_method(name)), name);
    EXPECT_THAT([] { parse_direction_method("logistics"); },
                ThrowsMessage<UsageError>(HasSubstr("did you mean")));
}

TEST(DirectionMethods, SettingsSayWhatTheMethodWasTold) {
    EXPECT_EQ(MethodOptions().settings_json(), "");
    EXPECT_EQ(nlohmann::json::parse(with(DirectionMethod::kRfm).settings_json()),
              nlohmann::json({{"regularization", 0.001}, {"iterations", 5}, {"bandwidth", 1.0}}));
    EXPECT_EQ(with(DirectionMethod::kPca).settings_json(), "{}");
}

TEST(DirectionMethods, WhatCannotBeUsedIsRefused) {
    const auto refusal = [](DirectionMethod method, const PromptRelations& relations, std::int64_t prompts) {
        try {
            check_usable(with(method), relations, prompts, prompts);
        } catch (const UsageError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_THAT(refusal(DirectionMethod::kPca, {}, 4), HasSubstr("paired"));
    EXPECT_THAT(refusal(DirectionMethod::kPcaCenter, {true, {}, {}}, 1), HasSubstr("2 pairs"));
    EXPECT_THAT(refusal(DirectionMethod::kRidge, {}, 4), HasSubstr("number"));
    EXPECT_THAT(refusal(DirectionMethod::kRidge, {false, {1, 1}, {1, 1}}, 2), HasSubstr("all the same"));
    EXPECT_EQ(refusal(DirectionMethod::kRfm, {}, 4), "");
    EXPECT_EQ(refusal(DirectionMethod::kRidge, {false, {2, 3}, {1, 1}}, 2), "");
}

TEST(DirectionMethods, ANumberForEachPrompt) {
    const Planted made = planted(4, 8, 0.0);
    PromptRelations relations = relations_of(made.set);
    relations.negative_values.pop_back();
    EXPECT_THAT(
        [&] {
            find_direction(pooled(made.set.positive), pooled(made.set.negative), relations,
                           with(DirectionMethod::kRidge));
        },
        ThrowsMessage<InputError>(HasSubstr("each of 4 prompts, found 3")));
}

TEST(DirectionMethods, SettingsOutOfRangeAreRefused) {
    for (const double value : {0.0, -1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        MethodOptions options;
        options.regularization = value;
        EXPECT_THROW(options.validate(), UsageError) << value;
        options = {};
        options.rfm_bandwidth = value;
        EXPECT_THROW(options.validate(), UsageError) << value;
    }
    MethodOptions options;
    options.rfm_iterations = 0;
    EXPECT_THROW(options.validate(), UsageError);
}

TEST(StatisticsOfGiven, ARandomDirectionTellsNothing) {
    const Planted made = planted(30, 500, 0.0);
    std::map<std::string, at::Tensor> directions{{"a", at::full({500}, 2.0, at::kFloat)}};
    const double norm = directions["a"].norm().item<double>();
    randomize_directions(directions, 3);
    EXPECT_NEAR(directions["a"].norm().item<double>(), norm, 1e-3);
    const DirectionStats stats = direction_statistics_of(directions["a"], pooled(made.set.positive),
                                                         pooled(made.set.negative), relations_of(made.set));
    EXPECT_LT(std::abs(stats.cosine_to_mean_diff.value()), 0.15);
    EXPECT_NEAR(stats.norm, norm, 1e-3);
    EXPECT_TRUE(stats.accuracy && stats.cohens_d && stats.silhouette && stats.r);

    std::map<std::string, at::Tensor> again{{"a", at::full({500}, 2.0, at::kFloat)}};
    randomize_directions(again, 3);
    EXPECT_TRUE(at::equal(again["a"], directions["a"]));
}

}  // namespace
}  // namespace musicsteer
