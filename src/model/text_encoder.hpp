#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "bundle/bundle.hpp"

namespace musicsteer {

/// The longest text that T5 was trained on, in tokens. It accepts longer ones, with uncertain results.
inline constexpr std::int64_t kTrainedTextTokens = 512;

/// The T5 encoder of the checkpoint.
class TextEncoder {
  public:
    explicit TextEncoder(const Bundle& bundle);

    /// Encodes one prompt by itself, so that its states never depend on others.
    /// @param ids  [S] token ids, </s> included
    /// @return [S, Dt] float32 on the model's device
    /// @throws InputError if an id is outside the vocabulary; @throws ResourceError if the text is too long
    /// for the free memory; @throws ModelError, Interrupted
    at::Tensor encode(std::span<const std::int64_t> ids, const std::stop_token& stop = {}) const;
    /// Attention has a number for each pair of tokens. @throws ResourceError if they would not fit into free
    /// memory
    void require_text_memory(std::int64_t tokens) const;

  private:
    std::uint64_t memory_of(std::int64_t tokens) const;
    at::Tensor distance_bias(std::int64_t length) const;

    TextDims dims_;
    c10::Device device_;
    mutable torch::jit::Module module_;
    std::vector<torch::jit::Module> blocks_;
    std::int64_t num_heads_;
};

}  // namespace musicsteer
