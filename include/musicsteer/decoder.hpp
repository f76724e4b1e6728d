#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <span>
#include <vector>

#include "musicsteer/bundle.hpp"
#include "musicsteer/hooks.hpp"

namespace musicsteer {

/// Cross-attention keys and values of P distinct texts, kept once however many rows use them.
struct TextMemory {
    std::vector<at::Tensor> keys;    ///< by layer: [P, H, S, D/H]
    std::vector<at::Tensor> values;  ///< by layer: [P, H, S, D/H]
    at::Tensor mask;                 ///< [P, S] bool; an all-false text (the null state) adds exactly nothing
};

/// Self-attention keys and values of B rows; the decoder writes them in place.
struct KvCache {
    std::vector<at::Tensor> keys;    ///< by layer: [B, H, L, D/H]
    std::vector<at::Tensor> values;  ///< by layer: [B, H, L, D/H]
};

/// One call of the decoder.
struct DecoderInput {
    at::Tensor codes;          ///< [B, K, T] int64
    at::Tensor prompt_of_row;  ///< [B] int64, index into the text memory
    HookContext context;       ///< position, columns, phase and rows; the decoder fills in the point
};

/// The layer loop of MusicGen's decoder, with a hook point at every seam.
class Decoder {
  public:
    explicit Decoder(const Bundle& bundle);

    const DecoderDims& dims() const { return dims_; }
    c10::Device device() const { return device_; }

    /// @param states  [P, S, Dt]
    /// @param mask    [P, S] bool, false for padding
    TextMemory remember(const at::Tensor& states, const at::Tensor& mask) const;
    KvCache make_cache(std::int64_t rows, std::int64_t capacity) const;

    /// Runs T columns for all rows at once and appends them to the cache.
    /// @return logits [B, K, T, V] float32
    /// @throws ModelError
    at::Tensor forward(const DecoderInput& input, const TextMemory& text, KvCache& cache,
                       const HookRegistry& hooks) const;

    /// How often forward ran: a batch is one call a step, however many requests it holds.
    std::int64_t forward_calls() const { return forward_calls_; }

  private:
    /// The exported methods of one layer (scripts/torchscript/decoder.py).
    struct Layer {
        torch::jit::Method cross_kv, self_attn, self_out, cross_attn, cross_out, mlp;
    };

    DecoderDims dims_;
    std::int64_t text_width_;
    c10::Device device_;
    torch::jit::Module module_;
    std::vector<Layer> layers_;
    mutable std::int64_t forward_calls_ = 0;
};

}  // namespace musicsteer
