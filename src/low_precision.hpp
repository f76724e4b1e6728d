#pragma once

#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <string>

namespace musicsteer {

/// Chooses FBGEMM, which packs int8 weights while a module is loaded and multiplies by them after.
/// @param origin  named in messages
/// @throws ModelError on a processor or device that cannot run int8 linears.
void prepare_int8(c10::Device device, const std::string& origin);

/// Without VNNI instructions FBGEMM adds pairs of products in 16 bits, which activations of 8 bits overflow:
/// there the linears of `module` (scripts/torchscript/precision.py) get activations of 7 bits.
void limit_int8_levels(torch::jit::Module& module);

}  // namespace musicsteer
