#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace musicsteer {

/// "[2, 4, 7]"
std::string shape_text(at::IntArrayRef sizes);

/// Matches any size in check_shape.
inline constexpr std::int64_t kAnySize = -1;

/// Checks that a tensor has the shape that its comment promises.
/// @throws ModelError "[where] expected [2, 4, any] but received [2, 3, 7]"
void check_shape(const at::Tensor& tensor, std::initializer_list<std::int64_t> expected,
                 const std::string& where);

}  // namespace musicsteer
