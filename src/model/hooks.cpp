#include "model/hooks.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "musicsteer/errors.hpp"

namespace musicsteer {

struct HookHandle::Slot {
    EditHook edit;
    ObserveHook observe;
    std::vector<std::shared_ptr<Slot>>* home = nullptr;
};

HookHandle::HookHandle(HookHandle&& other) noexcept : slot_(std::move(other.slot_)) {
    other.slot_.reset();
}

HookHandle& HookHandle::operator=(HookHandle&& other) noexcept {
    if (this != &other) {
        remove();
        slot_ = std::move(other.slot_);
        other.slot_.reset();
    }
    return *this;
}

void HookHandle::remove() {
    if (const std::shared_ptr<Slot> slot = slot_.lock()) std::erase(*slot->home, slot);
    slot_.reset();
}

HookRegistry::HookRegistry(std::int64_t num_layers)
    : num_layers_(num_layers), points_(HookPoint::final_norm().index(num_layers) + 1) {}

HookRegistry::~HookRegistry() = default;

HookHandle HookRegistry::add(const HookPoint& point, EditHook edit, ObserveHook observe) {
    const std::size_t index = point.index(num_layers_);
    if (point.is_layer() && point.layer() >= num_layers_) {
        throw UsageError("no hook point '" + point.name() + "': the model has layers 0 to " +
                         std::to_string(num_layers_ - 1));
    }
    auto& home = points_[index];
    auto slot =
        std::make_shared<HookHandle::Slot>(HookHandle::Slot{std::move(edit), std::move(observe), &home});
    home.push_back(slot);
    return HookHandle(slot);
}

HookHandle HookRegistry::edit(const HookPoint& point, EditHook hook) {
    return add(point, std::move(hook), {});
}

HookHandle HookRegistry::observe(const HookPoint& point, ObserveHook hook) {
    return add(point, {}, std::move(hook));
}

at::Tensor HookRegistry::fire(at::Tensor activation, const HookContext& context) const {
    const auto slots =
        points_[context.point.index(num_layers_)];  // a copy, since hooks may add and remove hooks
    for (const auto& slot : slots) {
        if (slot->edit) activation = slot->edit(activation, context);
    }
    for (const auto& slot : slots) {
        if (slot->observe) slot->observe(activation, context);
    }
    return activation;
}

}  // namespace musicsteer
