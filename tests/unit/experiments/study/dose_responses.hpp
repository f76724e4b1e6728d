#pragma once

#include <functional>

#include "experiments/study/dose_response.hpp"

namespace musicsteer {

inline constexpr std::uint64_t kSeeds = 8;

/// A response at -2, -1, 1 and 2 on one prompt whose seeds differ by `noise` on each seed's slope, and whose
/// KL cost is `cost` alpha squared.
inline DoseResponse response(const std::function<double(double alpha)>& effect, double noise,
                             double cost = 1.0) {
    DoseResponse result;
    for (const double alpha : {-2.0, -1.0, 1.0, 2.0}) {
        DosePoint point;
        point.alpha = alpha;
        point.kl_nats = cost * alpha * alpha;
        point.clips = kSeeds;
        for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
            const double share = 2.0 * static_cast<double>(seed) / static_cast<double>(kSeeds - 1) - 1.0;
            point.change[{0, seed}] = effect(alpha) + noise * share * alpha;
        }
        result.points.push_back(point);
    }
    return result;
}

}  // namespace musicsteer
