#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// Replaces each vector by one of random direction and the same norm: the control that a steering effect has
/// to beat. The draws depend only on the seed and on the names and widths of the vectors.
/// @param directions  by hook point name, [D] float32
void randomize_directions(std::map<std::string, at::Tensor>& directions, std::uint64_t seed);

/// Random directions with the same norm at every hook point: the effect of a push without meaning. The same
/// seed gives the same file.
VectorFile matched_random(const VectorFile& vectors, std::uint64_t seed);

}  // namespace musicsteer
