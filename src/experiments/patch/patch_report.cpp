#include "experiments/patch/patch_report.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/file_format.hpp"

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

const char* method_name(PatchMethod method) {
    switch (method) {
        case PatchMethod::kReplace:
            return "replace";
        case PatchMethod::kAblateZero:
            return "ablate-zero";
        case PatchMethod::kAblateMean:
            return "ablate-mean";
    }
    return "";
}

/// Name of the estimated quantity.
const char* quantity(const PatchReport& report) {
    return report.method == PatchMethod::kReplace ? "recovered" : "cost_nats";
}

json clip_json(const PatchClip& clip, const PatchScores& scores, bool is_patching) {
    if (!is_patching) return {{"prompt", clip.source}, {"seed", clip.seed}, {"log_p", scores.source}};
    return {{"source", clip.source},
            {"target", clip.target},
            {"seed", clip.seed},
            {"log_p_source", scores.source},
            {"log_p_target", scores.target}};
}

json result_json(const PatchReport& report, std::size_t index) {
    const PatchResult& result = report.results[index];
    const bool is_single = result.variant.layers.size() == 1;
    json log_p = json::array();
    for (const PatchScores& of_clip : report.scores) log_p.push_back(of_clip.patched.at(index));
    return {{"site", to_text(result.variant.site)},
            {"layer", is_single ? json(result.variant.layers.front()) : json()},
            {"layers", result.variant.layers},
            {quantity(report),
             {{"value", number_or_null(result.estimate.value)},
              {"low", number_or_null(result.estimate.low)},
              {"high", number_or_null(result.estimate.high)}}},
            {"log_p", std::move(log_p)}};
}

}  // namespace

json patch_json(const PatchReport& report) {
    const ClipSettings& settings = report.settings;
    json file = FileFormat{"musicsteer-patch"}.stamp();
    file.update({{"musicsteer", settings.version},
                 {"model", {{"name", settings.model_name}, {"weights_sha256", settings.weights_sha256}}},
                 {"method", method_name(report.method)},
                 {"window", report.window ? json(*report.window) : json()},
                 {"duration_s", settings.duration_s},
                 {"num_frames", settings.num_frames},
                 {"guidance_scale", settings.sampling.guidance_scale},
                 {"top_k", settings.sampling.top_k},
                 {"top_p", settings.sampling.top_p},
                 {"temperature", settings.sampling.temperature},
                 {"execution", execution_json(settings)}});
    if (!settings.melody_sha256.empty()) file["melody_sha256"] = settings.melody_sha256;
    const bool is_patching = report.method == PatchMethod::kReplace;
    json& clips = file[is_patching ? "pairs" : "clips"] = json::array();
    for (std::size_t i = 0; i < report.clips.size(); ++i)
        clips.push_back(clip_json(report.clips[i], report.scores.at(i), is_patching));
    file["results"] = json::array();
    for (std::size_t v = 0; v < report.results.size(); ++v) file["results"].push_back(result_json(report, v));
    return file;
}

std::string patch_csv(const PatchReport& report) {
    std::string csv = std::string("layer,site,") + quantity(report) + ",low,high\n";
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
