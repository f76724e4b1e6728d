#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

namespace musicsteer {

/// A linear without bias that runs at every step (StepLinear and its lowered kinds in
/// src/python/musicsteer/torchscript). int8 weights are multiplied by the kernel here, others by the module.
class StepLinear {
  public:
    explicit StepLinear(const torch::jit::Module& module);

    /// [..., I] float32 -> [..., O]. @throws ModelError
    at::Tensor operator()(const at::Tensor& x) const;

  private:
    torch::jit::Method forward_;
    at::Tensor weight_;  ///< [O, I] int8; undefined: the module computes
    at::Tensor scale_;   ///< [O] float32
};

}  // namespace musicsteer
