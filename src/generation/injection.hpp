#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "model/hooks.hpp"
#include "musicsteer/schedule.hpp"
#include "musicsteer/steering_mode.hpp"

namespace musicsteer {

/// Lets a vector steer only while the cosine between the activation of a clip's conditional row at a hook
/// point and a direction lies below, or above, a threshold. What is read is what recorders see. It acts on
/// places that run later in the same frame, and on its own place and earlier ones from the next frame; before
/// it has read anything it is shut. After CAST (arXiv 2409.05907) and SMITIN (arXiv 2404.02252).
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
    double strength = 0.0;  ///< what stands before the schedule: alpha in multiples of `vector`, 1 for clamp
    SteeredRows rows = SteeredRows::kBoth;
    SteeringMode mode = SteeringMode::kAdd;
    double value = 0.0;  ///< of mode clamp
    Course course{};
    std::optional<Gate> gate{};
    at::Tensor mask{};  ///< [D] bool: the only numbers that change (those of chosen heads); undefined: all
};

/// Everything that is done to one request's activations. At one hook point, in this order.
using SteeringPlan = std::vector<Injection>;

/// True if a gate acts on its own place or an earlier one, which it does from the next frame on: columns then
/// have to be taken one by one.
bool needs_single_steps(const SteeringPlan& plan);

}  // namespace musicsteer
