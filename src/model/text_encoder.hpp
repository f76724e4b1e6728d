#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <span>

#include "model/bundle.hpp"

namespace musicsteer {

/// The T5 encoder of the checkpoint.
class TextEncoder {
  public:
    explicit TextEncoder(const Bundle& bundle);

    /// Encodes one prompt by itself, so that its states never depend on others.
    /// @param ids  [S] token ids, </s> included
    /// @return [S, Dt] float32 on the model's device
    /// @throws InputError if an id is outside the vocabulary; @throws ModelError
    at::Tensor encode(std::span<const std::int64_t> ids) const;

  private:
    TextDims dims_;
    c10::Device device_;
    mutable torch::jit::Module module_;
};

}  // namespace musicsteer
