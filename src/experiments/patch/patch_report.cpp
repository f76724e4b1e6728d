#include "experiments/patch/patch_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr double kNotKnown = std::numeric_limits<double>::quiet_NaN();

json number_or_null(double value) {
    return std::isfinite(value) ? json(value) : json();
}

std::string layer_name(const PatchVariant& variant) {
    return variant.layers.size() == 1 ? std::to_string(variant.layers.front()) : "all";
}

std::string text_or_nothing(double value) {
    return std::isfinite(value) ? json(value).dump() : "";
}

std::string tooltip(const PatchReport& report, const PatchResult& result) {
    char interval[96];
    std::snprintf(interval, sizeof interval, "%.4g (%.4g to %.4g)", result.estimate.value,
                  result.estimate.low, result.estimate.high);
    return "layer " + layer_name(result.variant) + ", " + to_text(result.variant.site) + ": " +
           report.quantity + " " + interval;
}

std::size_t place_of(std::vector<std::string>& names, const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    names.push_back(name);
    return names.size() - 1;
}

}  // namespace

json patch_results_json(const PatchReport& report) {
    json list = json::array();
    for (const PatchResult& result : report.results) {
        const bool is_single = result.variant.layers.size() == 1;
        list.push_back({{"site", to_text(result.variant.site)},
                        {"layer", is_single ? json(result.variant.layers.front()) : json()},
                        {"layers", result.variant.layers},
                        {report.quantity,
                         {{"value", number_or_null(result.estimate.value)},
                          {"low", number_or_null(result.estimate.low)},
                          {"high", number_or_null(result.estimate.high)}}},
                        {"log_p", result.log_p}});
    }
    return list;
}

std::string patch_results_csv(const PatchReport& report) {
    std::string csv = "layer,site," + report.quantity + ",low,high\n";
    for (const PatchResult& result : report.results) {
        csv += layer_name(result.variant) + "," + to_text(result.variant.site) + "," +
               text_or_nothing(result.estimate.value) + "," + text_or_nothing(result.estimate.low) + "," +
               text_or_nothing(result.estimate.high) + "\n";
    }
    return csv;
}

Heatmap patch_heatmap(const PatchReport& report) {
    Heatmap heatmap;
    heatmap.title = report.title;
    heatmap.subtitle = report.subtitle;
    heatmap.column_heading = "layer";
    std::vector<std::pair<std::size_t, std::size_t>> places;
    for (const PatchResult& result : report.results) {
        const std::size_t row = place_of(heatmap.rows, to_text(result.variant.site));
        places.emplace_back(row, place_of(heatmap.columns, layer_name(result.variant)));
    }
    heatmap.values.assign(heatmap.rows.size(), std::vector<double>(heatmap.columns.size(), kNotKnown));
    heatmap.tooltips.assign(heatmap.rows.size(), std::vector<std::string>(heatmap.columns.size()));
    double max_of_one = 0.0;
    for (std::size_t i = 0; i < places.size(); ++i) {
        const auto& [row, column] = places[i];
        const PatchResult& result = report.results[i];
        heatmap.values[row][column] = result.estimate.value;
        heatmap.tooltips[row][column] = tooltip(report, result);
        if (result.variant.layers.size() == 1 && std::isfinite(result.estimate.value))
            max_of_one = std::max(max_of_one, std::abs(result.estimate.value));
    }
    // A share is read against 1; a cost against the largest of a single layer.
    heatmap.full_scale = report.quantity == "recovered" || max_of_one == 0.0 ? 1.0 : max_of_one;
    return heatmap;
}

}  // namespace musicsteer
