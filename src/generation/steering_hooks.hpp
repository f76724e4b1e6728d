#pragma once

#include <c10/core/Device.h>

#include <span>
#include <vector>

#include "generation/injection.hpp"
#include "model/hooks.hpp"

namespace musicsteer {

/// Edit hooks that apply each request's plan to its rows. Injections of strength zero are skipped, also at
/// single frames, so alpha 0 is bit-identical to no steering.
class SteeringHooks {
  public:
    /// @param plans  one for each request; @param rows  of the batch
    SteeringHooks(HookRegistry& hooks, const std::vector<SteeringPlan>& plans, std::span<const Row> rows,
                  double frame_rate_hz, c10::Device device);

  private:
    std::vector<HookHandle> handles_;
};

}  // namespace musicsteer
