#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "generation/injection.hpp"

namespace musicsteer {

/// What one gate read from one row of a batch, frame by frame.
class GateReading {
  public:
    GateReading(const Gate& gate, std::int64_t row, c10::Device device);

    /// @param activation  [B, T, ...] at the gate's point
    void read(const at::Tensor& activation, const HookContext& context);
    /// False at frames that were not read. Stored by frame, so that repeating a step changes nothing.
    bool is_open(std::int64_t frame) const;

  private:
    at::Tensor direction_;  ///< [D], of length 1
    bool below_;
    double threshold_;
    std::int64_t row_;
    std::vector<bool> open_;
};

}  // namespace musicsteer
