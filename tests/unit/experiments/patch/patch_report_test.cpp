#include "experiments/patch/patch_report.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace musicsteer {
namespace {

/// Pairs of which the source's prompt makes the codes likelier by `gains`, half of which one variant brings
/// back.
std::vector<PatchScores> scores_of(const std::vector<double>& gains) {
    std::vector<PatchScores> scores;
    for (const double gain : gains) scores.push_back({-10.0 + gain, -10.0, {-10.0 + gain / 2.0}});
    return scores;
}

TEST(RecoveredShare, IsARatioOfSumsWithAnInterval) {
    std::vector<PatchScores> scores = scores_of({1.0, 2.0, 3.0, 4.0});
    scores[3].patched = {-10.0 + 4.0};
    const Estimate share = recovered_share(scores, 0);
    EXPECT_DOUBLE_EQ(share.value, (0.5 + 1.0 + 1.5 + 4.0) / 10.0);
    EXPECT_LT(share.low, share.value);
    EXPECT_GT(share.high, share.value);
}

// Three pairs, one of which has all of the effect: that there is anything to recover can't be told from
// chance.
TEST(RecoveredShare, HasNoIntervalWhereThereMayBeNothingToRecover) {
    const std::vector<PatchScores> scores = scores_of({6.0, -1.0, -1.0});
    const Estimate share = recovered_share(scores, 0);
    EXPECT_DOUBLE_EQ(share.value, 0.5);
    EXPECT_FALSE(share.has_interval());
    EXPECT_TRUE(std::isnan(share.low) && std::isnan(share.high));
    const Estimate nothing = recovered_share(scores_of({1.0, -1.0, -1.0, -1.0}), 0);
    EXPECT_TRUE(std::isnan(nothing.value));
    EXPECT_FALSE(nothing.has_interval());
}

TEST(PatchReport, WhatIsNotKnownIsNullOrEmpty) {
    PatchReport report;
    for (const PatchVariant& variant : patch_variants({0, 1}, {Site::kMlpOut}))
        report.results.emplace_back().variant = variant;
    report.results[0].estimate = {0.25, 0.125, 0.5, 4};
    report.results[1].estimate.value = 0.5;
    const nlohmann::json results = patch_json(report)["results"];
    EXPECT_EQ(results[0]["recovered"], (nlohmann::json{{"value", 0.25}, {"low", 0.125}, {"high", 0.5}}));
    EXPECT_EQ(results[1]["recovered"].dump(), R"({"high":null,"low":null,"value":0.5})");
    EXPECT_TRUE(results[2]["recovered"]["value"].is_null() && results[2]["layer"].is_null());
    EXPECT_EQ(patch_csv(report),
              "layer,site,recovered,low,high\n0,mlp_out,0.25,0.125,0.5\n1,mlp_out,0.5,,\nall,mlp_out,,,\n");
}

TEST(PatchTable, HasSitesDownAndLayersAcross) {
    PatchReport report;
    for (const PatchVariant& variant : patch_variants({0, 2}, {Site::kResidPre, Site::kMlpOut})) {
        const auto place = static_cast<double>(report.results.size());
        PatchResult& result = report.results.emplace_back();
        result.variant = variant;
        result.estimate.value = place;
    }
    const PatchTable table = patch_table(report);
    EXPECT_EQ(table.layers, (std::vector<std::string>{"0", "2", "all"}));
    EXPECT_EQ(table.sites, (std::vector<std::string>{"resid_pre", "mlp_out"}));
    EXPECT_EQ(table.values, (std::vector<std::vector<double>>{{0.0, 1.0, 4.0}, {2.0, 3.0, 5.0}}));
}

}  // namespace
}  // namespace musicsteer
