#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "musicsteer/hook_point.hpp"

namespace musicsteer {

enum class RowRole {
    kConditional,
    kNull,  ///< the unconditional (or negative-prompt) row of classifier-free guidance
};

struct Row {
    std::int64_t request = 0;
    RowRole role = RowRole::kConditional;

    friend bool operator==(const Row&, const Row&) = default;
};

/// Context of the activation that a hook receives.
struct HookContext {
    HookPoint point = HookPoint::embed();
    std::int64_t position = 0;      ///< of the first column; position 0 is the start token
    std::int64_t columns = 1;       ///< T
    std::int64_t num_frames = 0;    ///< N of the clip
    std::int64_t window_start = 0;  ///< the clip's frame at position 0; more than 0 in later windows
    /// Positions that count: a position shared by two windows counts in one of them.
    std::int64_t own_first = 0, own_last = INT64_MAX;
    std::span<const Row> rows;  ///< [B]

    /// The clip's frame at the first column.
    std::int64_t frame() const { return window_start + position; }
};

/// Returns the replacement of the activation. It must not write into its argument, which may be shared.
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
/// may add and remove hooks, including itself; this takes effect the next time the point fires.
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
