#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/object.h>

#include <string>
#include <vector>

namespace musicsteer {

/// In a catch block: throws what is in flight as one of ours. Our own stay as they are; where memory gave out
/// it is a ResourceError; of the rest ModelError("WHAT failed: CAUSE"), the first cause in one line, without
/// LibTorch's traces.
[[noreturn]] void rethrow_as_ours(const std::string& what);

/// Does the work; what LibTorch throws in it leaves as rethrow_as_ours says.
template <typename Work>
auto with_our_errors(const std::string& what, Work&& work) {
    try {
        return work();
    } catch (...) {
        rethrow_as_ours(what);
    }
}

/// Calls a TorchScript method. `what` names the caller in messages, as "decoder".
/// @throws as rethrow_as_ours
c10::IValue call_script(const torch::jit::Method& method, std::vector<c10::IValue> arguments,
                        const std::string& what);

}  // namespace musicsteer
