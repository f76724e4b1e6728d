#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace musicsteer {

/// What a row is given besides its codes.
struct RowCondition {
    at::Tensor states;         ///< [S, Dt] float32 states of its text; undefined: the null state
    std::int64_t columns = 1;  ///< S; for the null state, that of the prompt it replaces
    at::Tensor melody;         ///< [F, 12] float32 chroma (audio/chroma.hpp); undefined: none
};

/// What the C rows that have a text attend to, in models with cross-attention. A row without a text (the null
/// state) is left out: its keys and values are zero, so it would add exactly nothing.
struct CrossAttentionCache {
    std::vector<at::Tensor> keys;    ///< by layer: [C, H, S, D/H]; a text shared by all rows is stored once
    std::vector<at::Tensor> values;  ///< by layer: [C, H, S, D/H]
    at::Tensor bias;                 ///< [C, 1, 1, S] float32: 0, or -infinity on padding
    at::Tensor rows;                 ///< [C] int64, ascending
};

/// The prefixes of B rows in models that read melody and text in front of the codes. They are in the first
/// slots of the self-attention cache and end at the first code. Prefixes can differ in length; slots that a
/// shorter one leaves free are masked.
struct Prefix {
    std::int64_t slots = 0;  ///< in front of the codes; 0: the model has no prefix
    at::Tensor length;       ///< [B] int64: the position of a row's start token
    at::Tensor bias;         ///< [B, 1, 1, L] float32: -infinity on free slots, 0 elsewhere
};

/// Self-attention keys and values of B rows, float16 beside weights of less than 32 bits and float32
/// otherwise; the decoder writes them in place.
struct KvCache {
    std::vector<at::Tensor> keys;    ///< by layer: [B, H, L, D/H]
    std::vector<at::Tensor> values;  ///< by layer: [B, H, L, D/H]
};

/// The decoder's state for a batch: its cache and its conditioning. A model has cross-attention or a prefix;
/// the other one is empty.
struct DecoderState {
    KvCache cache;
    CrossAttentionCache text;
    Prefix prefix;
};

}  // namespace musicsteer
