#pragma once

namespace musicsteer {

/// The rows of classifier-free guidance that are steered.
enum class SteeredRows { kBoth, kConditional };

/// What a vector v does to an activation h, where u = v / norm(v) and s is the schedule.
enum class SteeringMode {
    kAdd,        ///< h + alpha s v
    kAddRenorm,  ///< the same, rescaled to the norm that h had
    kAblate,     ///< h - alpha s (h . u) u: at alpha s = 1, nothing along u is left
    kClamp,      ///< h + s (value - h . u) u: at s = 1, the projection on u is `value`
};

}  // namespace musicsteer
