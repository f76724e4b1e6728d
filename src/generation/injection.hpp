#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "model/hooks.hpp"
#include "musicsteer/schedule.hpp"
#include "musicsteer/steering_mode.hpp"

namespace musicsteer {

/// Lets a vector steer only while the cosine between a direction and the activation of the clip's conditional
/// row at a hook point is below, or above, a threshold. It reads what recorders see. It acts on later hook
/// points in the same frame, and on its own and earlier ones in the next frame. Until it has read a frame it
/// is shut. After CAST (arXiv 2409.05907) and SMITIN (arXiv 2404.02252).
struct Gate {
    HookPoint point = HookPoint::embed();
    at::Tensor direction;  ///< [D] float32
    bool below = true;     ///< open while the cosine is below the threshold; false: above it
    double threshold = 0.0;
};

/// One vector's effect at one hook point.
struct Injection {
    HookPoint point = HookPoint::embed();
    at::Tensor vector;      ///< [D] float32; zero outside of the mask
    double strength = 0.0;  ///< factor of the schedule: alpha in multiples of `vector`, 1 for clamp
    SteeredRows rows = SteeredRows::kBoth;
    SteeringMode mode = SteeringMode::kAdd;
    double value = 0.0;  ///< of mode clamp
    Course course{};
    std::optional<Gate> gate{};
    at::Tensor mask{};  ///< [D] bool: the numbers that may change (those of the chosen heads); undefined: all
};

/// All injections of one request. At the same hook point they act in this order.
using SteeringPlan = std::vector<Injection>;

/// True if a gate acts on its own hook point or an earlier one, and so on the next frame. Columns must then
/// be run one by one.
bool needs_single_steps(const SteeringPlan& plan);

}  // namespace musicsteer
