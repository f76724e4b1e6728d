#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/object.h>

#include <string>
#include <vector>

namespace musicsteer {

/// Calls a TorchScript method. `what` names the caller in messages, as "decoder".
/// @throws ModelError with the first cause in one line, without the interpreter's trace
c10::IValue call_script(const torch::jit::Method& method, std::vector<c10::IValue> arguments,
                        const std::string& what);

}  // namespace musicsteer
