#include "experiments/sweep/sweep_table.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "experiments/clip_record.hpp"
#include "io/csv.hpp"
#include "musicsteer/metrics.hpp"
#include "steering/setting_fields.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr std::array kClipColumns = {"id", "file", "prompt", "negative_prompt", "seed"};

std::string cell(const json& value) {
    if (value.is_null()) return "";
    if (value.is_array()) {
        std::string text;
        for (const json& item : value) text.append(text.empty() ? "" : " ").append(item.dump());
        return text;
    }
    return value.is_string() ? csv_cell(value.get<std::string>()) : value.dump();
}

json member(const json& object, const char* key) {
    return object.is_object() && object.contains(key) ? object.at(key) : json();
}

std::string row_of(const json& record, const std::vector<std::string>& own) {
    std::string row;
    const auto add = [&](const json& value) { row += cell(value) + ","; };
    for (const char* column : kClipColumns) add(member(record, column));
    // An unsteered clip is alpha 0 of every curve.
    const json steering = member(record, "steering");
    const json applied = steering.is_array() && !steering.empty() ? steering[0] : json{{"alpha", 0.0}};
    add(member(applied, "concept"));
    for (const SettingField& field : setting_fields()) add(member(applied, field.key));
    const json measures = member(record, "measures");
    for (const char* column : kMeasureNames) add(member(measures, column));
    for (const std::string& column : own) add(member(measures, column.c_str()));
    add(member(record, "kl_nats"));
    add(member(record, "audio_sha256"));
    row.back() = '\n';
    return row;
}

}  // namespace

std::vector<std::string> own_measures(const std::string& record) {
    const json measures = member(json::parse(record), "measures");
    std::vector<std::string> names;
    for (const auto& [name, value] : measures.items()) {
        if (name != "tempo_prior" &&
            std::find(kMeasureNames.begin(), kMeasureNames.end(), name) == kMeasureNames.end())
            names.push_back(name);
    }
    return names;
}

std::string sweep_table_heading(const std::vector<std::string>& own) {
    std::vector<std::string> columns = table_columns();
    columns.insert(columns.end() - 2, own.begin(), own.end());
    std::string heading;
    for (const std::string& column : columns) heading += (heading.empty() ? "" : ",") + column;
    return heading + "\n";
}

std::string sweep_table_row(const std::string& record, const std::vector<std::string>& own) {
    return row_of(json::parse(record), own);
}

}  // namespace musicsteer
