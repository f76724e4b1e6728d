#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// Places in one decoder layer where hooks fire, in order of execution.
enum class Site {
    kResidPre,       ///< [B, T, D] residual stream before the layer
    kSelfAttnHeads,  ///< [B, T, H, D/H] before the output projection
    kSelfAttnOut,    ///< [B, T, D] before the residual add
    kResidPostSelf,
    kCrossAttnOut,
    kResidPostCross,
    kMlpOut,
    kResidPost,
};
inline constexpr int kSitesPerLayer = 8;

/// "resid_post" and the like.
std::string to_text(Site site);
/// @throws UsageError with the nearest known name.
Site parse_site(std::string_view name);

/// One member of the closed set of hook points: decoder.embed, decoder.{i}.{site}, decoder.final_norm.
class HookPoint {
  public:
    static HookPoint embed() { return HookPoint(-1, Site::kResidPre); }
    static HookPoint final_norm() { return HookPoint(kAfterLayers, Site::kResidPost); }
    /// @throws UsageError for a negative layer
    static HookPoint at(std::int64_t layer, Site site);

    /// @throws UsageError "unknown hook point X, did you mean Y", also for a layer the model lacks.
    static HookPoint parse(std::string_view name, std::int64_t num_layers);
    /// Every hook point of a decoder with that many layers, in order of execution.
    static std::vector<HookPoint> all(std::int64_t num_layers);

    bool is_layer() const { return layer_ >= 0 && layer_ != kAfterLayers; }
    std::int64_t layer() const { return layer_; }
    Site site() const { return site_; }
    std::string name() const;
    /// Dense index in order of execution: embed 0, then 8 a layer; final_norm last.
    std::size_t index(std::int64_t num_layers) const;
    /// By order of execution.
    auto operator<=>(const HookPoint&) const = default;

  private:
    static constexpr std::int64_t kAfterLayers = std::numeric_limits<std::int64_t>::max();

    HookPoint(std::int64_t layer, Site site) : layer_(layer), site_(site) {}
    std::int64_t layer_;
    Site site_;
};

}  // namespace musicsteer
