#include "musicsteer/steering_axes.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/numbers.hpp"
#include "base/size_limits.hpp"
#include "musicsteer/errors.hpp"
#include "steering/setting_fields.hpp"

namespace musicsteer {
namespace {

constexpr std::array kAxes = {
    SteeringAxis{"strategy", "strategies", "per-layer, one-to-all, single [as in generate]"},
    SteeringAxis{"source_layer", "source_layers",
                 "Layers whose vector is used, for one-to-all and single [largest effect size]"},
    SteeringAxis{"site", "sites", "Where in the layer [the file's only site]"},
    SteeringAxis{"layers", "layers",
                 "Layers, a condition each: all, 4, 2-5, or 0+2 (together) [the strategy's own]"},
    SteeringAxis{"rows", "rows", "Guidance rows to steer: both, conditional [both]"},
    SteeringAxis{"unit", "units", "What alpha counts: difference, unit, residual [difference]"},
};

std::vector<double> read_alphas(const JsonView& view) {
    if (view.is_text()) return parse_alphas(view.text());
    if (!view.is_list()) return {view.number()};
    std::vector<double> alphas;
    for (const JsonView& item : view.items()) alphas.push_back(item.number());
    if (alphas.empty()) view.fail("expected at least one alpha, found an empty list");
    return alphas;
}

/// One value: "one-to-all", 4, "2-5", or [0, 2, 4] for layers steered together.
std::string read_value(const SteeringAxis& axis, const JsonView& view) {
    if (view.is_text()) {
        const std::vector<std::string> values = parse_axis(axis, view.text());
        if (values.size() > 1) view.fail("one condition is expected here: write [0, 2] or \"0+2\"");
        return values.front();
    }
    if (!view.is_list()) return std::to_string(view.integer(0, kMaxLayers));
    std::vector<std::int64_t> numbers;
    for (const JsonView& item : view.items()) numbers.push_back(item.integer(0, kMaxLayers));
    if (numbers.empty()) view.fail("expected at least one number, found an empty list");
    return to_text(numbers);
}

std::vector<std::string> read_values(const SteeringAxis& axis, const JsonView& view) {
    if (view.is_text()) return parse_axis(axis, view.text());
    if (!view.is_list()) return {read_value(axis, view)};
    std::vector<std::string> values;
    for (const JsonView& item : view.items()) values.push_back(read_value(axis, item));
    if (values.empty()) view.fail("expected at least one item, found an empty list");
    return values;
}

const SettingField& field_of(const std::string& key) {
    const auto fields = setting_fields();
    return *std::find_if(fields.begin(), fields.end(),
                         [&](const SettingField& field) { return key == field.key; });
}

}  // namespace

std::span<const SteeringAxis> steering_axes() {
    return kAxes;
}

void SteeringAxes::complete_with(const SteeringAxes& other) {
    if (alphas.empty()) alphas = other.alphas;
    for (const auto& [field, others] : other.values) values.try_emplace(field, others);
}

std::vector<std::optional<std::string>> SteeringAxes::values_or_default(const std::string& field) const {
    const auto found = values.find(field);
    if (found == values.end()) return {std::nullopt};
    return {found->second.begin(), found->second.end()};
}

SteeringAxes SteeringAxes::of(const SteeringSetting& setting) {
    SteeringAxes axes;
    if (setting.alpha) axes.alphas = {*setting.alpha};
    for (const SteeringAxis& axis : kAxes) {
        const SettingField& field = field_of(axis.field);
        if (field.is_set(setting)) axes.values[axis.field] = {field.print(setting)};
    }
    return axes;
}

SteeringAxes SteeringAxes::read(const JsonView& view) {
    SteeringAxes axes;
    if (const auto alphas = view.find("alphas")) axes.alphas = read_alphas(*alphas);
    for (const SteeringAxis& axis : kAxes) {
        if (const auto values = view.find(axis.key)) axes.values[axis.field] = read_values(axis, *values);
    }
    return axes;
}

std::vector<std::string> parse_axis(const SteeringAxis& axis, const std::string& text) {
    std::string what = axis.key;
    std::replace(what.begin(), what.end(), '_', ' ');
    std::vector<std::string> values = split_list(text, what);
    if (std::strcmp(axis.field, "layers") != 0) return values;
    for (std::string& value : values) std::replace(value.begin(), value.end(), '+', ',');
    return values;
}

void set_field(SteeringSetting& setting, const std::string& field, const std::string& value) {
    field_of(field).parse(setting, value);
}

}  // namespace musicsteer
