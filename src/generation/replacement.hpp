#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "generation/activations.hpp"
#include "model/hooks.hpp"

namespace musicsteer {

/// Mode `replace`: at these positions, the activations of `rows` become those of row `source` of the same
/// batch, which runs beside them on the same codes.
EditHook replace_by_row(const std::vector<std::int64_t>& rows, std::int64_t source, PositionRange positions,
                        c10::Device device);

/// The same with one vector for all positions. @param vector  [D] float32 (per-head sites: flattened to D)
EditHook replace_by_vector(const std::vector<std::int64_t>& rows, const at::Tensor& vector,
                           PositionRange positions, c10::Device device);

}  // namespace musicsteer
