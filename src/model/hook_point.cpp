#include "musicsteer/hook_point.hpp"

#include <array>
#include <charconv>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::array<std::string_view, kSitesPerLayer> kSiteNames = {
    "resid_pre",      "self_attn_heads",  "self_attn_out", "resid_post_self",
    "cross_attn_out", "resid_post_cross", "mlp_out",       "resid_post",
};
constexpr std::string_view kPrefix = "decoder.";

std::vector<std::string> names_of(const std::vector<HookPoint>& points) {
    std::vector<std::string> names;
    names.reserve(points.size());
    for (const HookPoint& point : points) names.push_back(point.name());
    return names;
}

}  // namespace

std::string to_text(Site site) {
    return std::string(kSiteNames.at(static_cast<std::size_t>(site)));
}

Site parse_site(std::string_view name) {
    for (std::size_t i = 0; i < kSiteNames.size(); ++i) {
        if (kSiteNames[i] == name) return static_cast<Site>(i);
    }
    const std::vector<std::string> known(kSiteNames.begin(), kSiteNames.end());
    throw UsageError("unknown site " + in_quotes(name) + did_you_mean(name, known));
}

HookPoint HookPoint::at(std::int64_t layer, Site site) {
    if (layer < 0) throw UsageError("layers start at 0, there is no layer " + std::to_string(layer));
    return HookPoint(layer, site);
}

HookPoint HookPoint::parse(std::string_view name, std::int64_t num_layers) {
    const std::vector<HookPoint> points = all(num_layers);
    for (const HookPoint& point : points) {
        if (point.name() == name) return point;
    }
    // A well-formed name of a layer that is not there deserves the number of layers, not the nearest
    // spelling.
    if (name.starts_with(kPrefix)) {
        const std::string_view rest = name.substr(kPrefix.size());
        std::int64_t layer = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
        if (error == std::errc() && end != rest.data() + rest.size() && *end == '.' && layer >= num_layers) {
            throw UsageError("unknown hook point " + in_quotes(name) + ": the model has layers 0 to " +
                             std::to_string(num_layers - 1));
        }
    }
    throw UsageError("unknown hook point " + in_quotes(name) + did_you_mean(name, names_of(points)));
}

std::vector<HookPoint> HookPoint::all(std::int64_t num_layers) {
    std::vector<HookPoint> points{embed()};
    for (std::int64_t layer = 0; layer < num_layers; ++layer) {
        for (int site = 0; site < kSitesPerLayer; ++site)
            points.push_back(at(layer, static_cast<Site>(site)));
    }
    points.push_back(final_norm());
    return points;
}

std::string HookPoint::name() const {
    if (*this == embed()) return "decoder.embed";
    if (*this == final_norm()) return "decoder.final_norm";
    return "decoder." + std::to_string(layer_) + "." + to_text(site_);
}

std::size_t HookPoint::index(std::int64_t num_layers) const {
    if (*this == embed()) return 0;
    if (*this == final_norm()) return static_cast<std::size_t>(num_layers * kSitesPerLayer + 1);
    return static_cast<std::size_t>(1 + layer_ * kSitesPerLayer + static_cast<std::int64_t>(site_));
}

}  // namespace musicsteer
