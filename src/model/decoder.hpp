#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "bundle/bundle.hpp"
#include "model/conditioning.hpp"
#include "model/hooks.hpp"
#include "model/step_linear.hpp"

namespace musicsteer {

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

    /// Gives a batch its texts and melodies, at its beginning or, in models with cross-attention, at any
    /// step; a model with a prefix forgets its codes. Each condition is computed by itself, so a row does not
    /// depend on those of others.
    /// @param conditions        distinct ones
    /// @param condition_of_row  [B]
    /// @param text_length       length that texts are padded to: at least the longest one's
    /// @param positions         columns of codes that the cache must hold
    /// @throws UsageError if text and codes take more positions than the model has; ModelError,
    /// Interrupted
    void tell(DecoderState& state, std::span<const RowCondition> conditions,
              std::span<const std::int64_t> condition_of_row, std::int64_t text_length,
              std::int64_t positions, const std::stop_token& stop = {}) const;

    /// Runs T columns for all rows at once and appends them to the cache. Positions are those of codes: a
    /// prefix is in front of position 0 and fires no hooks.
    /// @return logits [B, K, T, V] float32
    /// @throws ModelError
    at::Tensor forward(const DecoderInput& input, DecoderState& state, const HookRegistry& hooks) const;

    /// Number of calls of forward: one a step for a batch of any size.
    std::int64_t forward_calls() const { return forward_calls_; }

  private:
    /// The parts of one layer (src/python/musicsteer/torchscript/decoder.py).
    struct Layer {
        explicit Layer(const torch::jit::Module& module);

        /// Absent in models with a prefix.
        struct CrossAttention {
            explicit CrossAttention(const torch::jit::Module& module);

            torch::jit::Method norm, kv, attend;
            StepLinear query, project;
        };

        torch::jit::Method self_norm, attend_self, mlp_norm, activation;
        StepLinear self_qkv, self_project, mlp_in, mlp_out;
        std::optional<CrossAttention> cross;
    };

    CrossAttentionCache remember(std::span<const RowCondition> conditions,
                                 std::span<const std::int64_t> condition_of_row,
                                 std::int64_t text_length) const;
    DecoderState read_prefixes(std::span<const RowCondition> conditions,
                               std::span<const std::int64_t> condition_of_row, std::int64_t text_length,
                               std::int64_t positions, const std::stop_token& stop) const;
    /// Melody and text in front of the codes -> [1, length, D], positions included
    at::Tensor embed_prefix(const RowCondition& condition) const;
    KvCache make_cache(std::int64_t rows, std::int64_t capacity) const;

    /// Codes [B, K, T] -> [B, T, D], positions included
    at::Tensor embed(const at::Tensor& codes, std::int64_t position, const Prefix& prefix) const;
    /// x [B, T, D] through all layers
    at::Tensor run_layers(at::Tensor x, HookContext context, DecoderState& state,
                          const HookRegistry& hooks) const;
    /// [B, T, D] -> heads [B, T, H, D/H]
    at::Tensor self_attention(const Layer& layer, const at::Tensor& x, DecoderState& state, std::size_t index,
                              const HookContext& context) const;
    /// [B, T, D] -> addend of the residual stream, [B, T, D]
    at::Tensor cross_attention(const Layer& layer, const at::Tensor& x, const CrossAttentionCache& text,
                               std::size_t index) const;

    DecoderDims dims_;
    std::int64_t text_width_;
    std::optional<MelodyDims> melody_;  ///< of models with a prefix
    c10::Device device_;
    at::ScalarType cache_type_;
    torch::jit::Module module_;
    std::vector<Layer> layers_;
    std::vector<StepLinear> heads_;  ///< by codebook
    mutable std::int64_t forward_calls_ = 0;
};

}  // namespace musicsteer
