#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

namespace musicsteer {

/// A linear without bias that runs at every step (StepLinear and its lowered kinds in
/// musicsteer.torchscript). Our kernels multiply the rows of a step; on a GPU, and for very many rows, the
/// module is called.
class StepLinear {
  public:
    explicit StepLinear(const torch::jit::Module& module);

    /// [..., I] float32 -> [..., O]. @throws ModelError
    at::Tensor operator()(const at::Tensor& x) const;

  private:
    torch::jit::Method forward_;
    at::Tensor weight_;  ///< [O, I] int8, bfloat16 or float32
    at::Tensor scale_;   ///< [O] float32, of an int8 weight
};

}  // namespace musicsteer
