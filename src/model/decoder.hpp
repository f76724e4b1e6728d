#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/bundle.hpp"
#include "model/hooks.hpp"
#include "model/step_linear.hpp"

namespace musicsteer {

/// What the C rows that have a text attend to. A row without one (the null state) is not among them: its
/// keys and values are zero, so that it adds exactly nothing.
struct CrossAttentionCache {
    std::vector<at::Tensor> keys;    ///< by layer: [C, H, S, D/H]; one text for all rows is kept once
    std::vector<at::Tensor> values;  ///< by layer: [C, H, S, D/H]
    at::Tensor bias;                 ///< [C, 1, 1, S] float32: 0, or -infinity on padding
    at::Tensor rows;                 ///< [C] int64, ascending
};

/// Self-attention keys and values of B rows, float16 beside weights of less than 32 bits and float32
/// otherwise; the decoder writes them in place.
struct KvCache {
    std::vector<at::Tensor> keys;    ///< by layer: [B, H, L, D/H]
    std::vector<at::Tensor> values;  ///< by layer: [B, H, L, D/H]
};

/// One call of the decoder.
struct DecoderInput {
    at::Tensor codes;     ///< [B, K, T] int64
    HookContext context;  ///< position, columns and rows; the decoder fills in the point
};

/// The layer loop of MusicGen's decoder, with a hook point at every seam.
class Decoder {
  public:
    explicit Decoder(const Bundle& bundle);

    const DecoderDims& dims() const { return dims_; }
    c10::Device device() const { return device_; }

    /// @param states  [P, S, Dt]
    /// @param mask    [P, S] bool, false for padding; a text may be all padding
    /// @param text_of_row  [B] int64, index into the texts
    CrossAttentionCache remember(const at::Tensor& states, const at::Tensor& mask,
                                 const at::Tensor& text_of_row) const;
    KvCache make_cache(std::int64_t rows, std::int64_t capacity) const;

    /// Runs T columns for all rows at once and appends them to the cache.
    /// @return logits [B, K, T, V] float32
    /// @throws ModelError
    at::Tensor forward(const DecoderInput& input, const CrossAttentionCache& text, KvCache& cache,
                       const HookRegistry& hooks) const;

    /// How often forward ran: a batch is one call a step, however many requests it holds.
    std::int64_t forward_calls() const { return forward_calls_; }

  private:
    /// The parts of one layer (src/python/musicsteer/torchscript/decoder.py).
    struct Layer {
        explicit Layer(const torch::jit::Module& module);

        torch::jit::Method self_norm, attend_self, cross_norm, cross_kv, attend_text, mlp_norm, activation;
        StepLinear self_qkv, self_project, cross_query, cross_project, mlp_in, mlp_out;
    };

    /// [B, T, D] -> heads [B, T, H, D/H]
    at::Tensor self_attention(const Layer& layer, const at::Tensor& x, at::Tensor& keys, at::Tensor& values,
                              const HookContext& context) const;
    at::Tensor cross_attention(const Layer& layer, const at::Tensor& x, const CrossAttentionCache& text,
                               std::size_t index) const;

    DecoderDims dims_;
    std::int64_t text_width_;
    c10::Device device_;
    at::ScalarType cache_type_;
    torch::jit::Module module_;
    std::vector<Layer> layers_;
    std::vector<StepLinear> heads_;  ///< by codebook
    mutable std::int64_t forward_calls_ = 0;
};

}  // namespace musicsteer
