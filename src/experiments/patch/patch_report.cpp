#include "experiments/patch/patch_report.hpp"

#include <algorithm>
#include <cmath>
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

PatchTable patch_table(const PatchReport& report) {
    PatchTable table;
    std::vector<std::pair<std::size_t, std::size_t>> places;
    for (const PatchResult& result : report.results) {
        const std::size_t row = place_of(table.sites, to_text(result.variant.site));
        places.emplace_back(row, place_of(table.layers, layer_name(result.variant)));
    }
    table.values.assign(table.sites.size(), std::vector<double>(table.layers.size(), kNotKnown));
    for (std::size_t i = 0; i < places.size(); ++i)
        table.values[places[i].first][places[i].second] = report.results[i].estimate.value;
    return table;
}

}  // namespace musicsteer
