#include "inspection/vector_table.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "model/hooks.hpp"

namespace musicsteer::inspection {
namespace {

constexpr std::size_t kNameWidth = 27;  // decoder.23.self_attn_heads

std::string cell(std::size_t width, const std::string& text) {
    return " " + std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

std::string cell(std::size_t width, const char* format, std::optional<double> value) {
    if (!value) return cell(width, "-");
    char text[400];  // %.2f of the largest number
    std::snprintf(text, sizeof text, format, *value);
    return cell(width, text);
}

/// 0 in a file means not measured.
std::optional<double> known(double value) {
    return value == 0.0 ? std::nullopt : std::optional(value);
}

}  // namespace

void print_vector_table(std::ostream& out, const VectorFile& vectors) {
    const auto name_cell = [](std::string name) {
        name.resize(std::max(name.size(), kNameWidth), ' ');
        return name;
    };
    out << name_cell("hook point") << cell(9, "norm") << cell(13, "residual norm") << cell(11, "effect size")
        << cell(10, "held-out d") << cell(10, "silhouette") << cell(8, "accuracy") << cell(6, "r")
        << cell(13, "cos mean-diff") << '\n';
    for (const HookPoint& point : HookPoint::all(vectors.provenance.num_layers)) {
        const auto found = vectors.stats.find(point.name());
        if (found == vectors.stats.end()) continue;
        const DirectionStats& stats = found->second;
        out << name_cell(point.name()) << cell(9, "%.4g", stats.norm)
            << cell(13, "%.4g", known(stats.mean_residual_norm)) << cell(11, "%.2f", known(stats.effect_size))
            << cell(10, "%.2f", stats.cohens_d) << cell(10, "%.2f", stats.silhouette)
            << cell(8, "%.2f", stats.accuracy) << cell(6, "%.2f", stats.r)
            << cell(13, "%.3f", stats.cosine_to_mean_diff) << '\n';
    }
}

}  // namespace musicsteer::inspection
