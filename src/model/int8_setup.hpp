#pragma once

#include <c10/core/Device.h>

#include <string>

namespace musicsteer {

/// Chooses FBGEMM, which packs int8 weights while a module is loaded and multiplies by them after.
/// @param origin  named in messages
/// @throws ModelError on a processor or device that cannot run int8 linears.
void prepare_int8(c10::Device device, const std::string& origin);

}  // namespace musicsteer
