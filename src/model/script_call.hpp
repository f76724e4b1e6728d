#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/object.h>

#include <string>
#include <vector>

namespace musicsteer {

/// In a catch block: rethrows the current exception as one of ours. Our own are unchanged; out of memory
/// becomes ResourceError; all others become ModelError("WHAT failed: CAUSE"), in one line and without
/// LibTorch's traces.
[[noreturn]] void rethrow_as_ours(const std::string& what);

/// Calls `work`; exceptions from LibTorch are converted by rethrow_as_ours.
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
