#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
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

enum class RowRole {
    kConditional,
    kNull,  ///< the unconditional (or negative-prompt) row of classifier-free guidance
};

struct Row {
    std::int64_t request = 0;
    RowRole role = RowRole::kConditional;

    friend bool operator==(const Row&, const Row&) = default;
};

/// What a hook is told about the activation it receives.
struct HookContext {
    HookPoint point = HookPoint::embed();
    std::int64_t position = 0;    ///< of the first column; position 0 is the start token
    std::int64_t columns = 1;     ///< T
    std::int64_t num_frames = 0;  ///< N of the clip: positions in [0, N) are the clip's own
    std::span<const Row> rows;    ///< [B]
};

/// Replaces the activation by what it returns. It must not write into its argument, which others may share.
using EditHook = std::function<at::Tensor(const at::Tensor& activation, const HookContext& context)>;
/// Reads an activation, after all edits at that point.
using ObserveHook = std::function<void(const at::Tensor& activation, const HookContext& context)>;

class HookRegistry;

/// Keeps one hook registered; removes it on destruction. Move-only.
class HookHandle {
  public:
    HookHandle() = default;
    HookHandle(HookHandle&& other) noexcept;
    HookHandle& operator=(HookHandle&& other) noexcept;
    HookHandle(const HookHandle&) = delete;
    HookHandle& operator=(const HookHandle&) = delete;
    ~HookHandle() { remove(); }
    void remove();

  private:
    friend class HookRegistry;
    struct Slot;
    explicit HookHandle(std::weak_ptr<Slot> slot) : slot_(std::move(slot)) {}
    std::weak_ptr<Slot> slot_;
};

/// The hooks of one decoder. Edits at a point run in the order they were added, then the observers. A hook
/// may add and remove hooks, itself too: that counts from the next time the point fires.
class HookRegistry {
  public:
    explicit HookRegistry(std::int64_t num_layers);
    ~HookRegistry();
    HookRegistry(const HookRegistry&) = delete;
    HookRegistry& operator=(const HookRegistry&) = delete;

    [[nodiscard]] HookHandle edit(const HookPoint& point, EditHook hook);
    [[nodiscard]] HookHandle observe(const HookPoint& point, ObserveHook hook);

    /// Fires the hooks of `context.point` and returns the (possibly replaced) activation.
    at::Tensor fire(at::Tensor activation, const HookContext& context) const;
    std::int64_t num_layers() const { return num_layers_; }

  private:
    std::int64_t num_layers_;
    std::vector<std::vector<std::shared_ptr<HookHandle::Slot>>> points_;
    HookHandle add(const HookPoint& point, EditHook edit, ObserveHook observe);
};

}  // namespace musicsteer
