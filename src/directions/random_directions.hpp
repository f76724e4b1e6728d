#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// Replaces each vector by one of random direction and the same norm: the control that a steering effect has
/// to beat. The draws depend on the seed and on the names and widths of the vectors alone.
/// @param directions  by hook point name, [D] float32
void randomize_directions(std::map<std::string, at::Tensor>& directions, std::uint64_t seed);

/// A vector of the same norm at every hook point, in random directions: what a push does that means nothing.
/// The same seed gives the same file.
VectorFile matched_random(const VectorFile& vectors, std::uint64_t seed);

}  // namespace musicsteer
