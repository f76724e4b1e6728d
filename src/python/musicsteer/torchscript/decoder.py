"""MusicGen's decoder as separate scriptable calls, so that the caller owns the layer loop and every cache.

Architecture: `MusicgenDecoder` and `MusicgenForCausalLM` in transformers' modeling_musicgen.py. Pre-norm
layers of self-attention, cross-attention to the text and a feed-forward pair; no biases outside the norms.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicsteer.torchscript.common import UnsupportedCheckpoint, activation, adopt, onednn_linear


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, D] -> [B, H, T, D / H]: head h owns the columns [h D/H, (h + 1) D/H)."""
    return x.view(x.size(0), x.size(1), num_heads, -1).transpose(1, 2)


def causal_mask(position: int, columns: int, like: Tensor) -> Tensor:
    """[columns, position + columns] bool: column c sits at `position` + c, sees itself and all before."""
    keys = torch.arange(position + columns, device=like.device)
    queries = torch.arange(position, position + columns, device=like.device)
    return keys.unsqueeze(0) <= queries.unsqueeze(1)


def with_causal_mask(bias: Tensor, position: int, columns: int) -> Tensor:
    """Bias [B, 1, 1, position + columns] -> [B, 1, columns, position + columns], the future masked."""
    future = ~causal_mask(position, columns, bias)
    later = torch.zeros([1, 1, columns, position + columns], dtype=bias.dtype, device=bias.device)
    return later.masked_fill(future, -3.0e38) + bias


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """[B, H, T, hd] on [B, H, S, hd], scores times hd^-0.5, mask True = seen -> [B, T, H, hd]."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


class StepLinear(nn.Linear):
    """A linear without bias that runs at every step, on one column of each row of the batch.

    This is the reference, and what runs on a GPU and for very many rows: on the CPU the program has kernels.
    oneDNN gives a row the same bits wherever it stands in the batch, which MKL does not for 5 to 11 rows.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]."""
        return onednn_linear(x, self.weight, None)


class Layer(nn.Module):
    """What every decoder's layer has: each method is one stretch between two hook points; the residual adds
    are the caller's.

    The program calls norms, linears, activation and the two attentions one by one, so that it can compute
    linears and attention by kernels of its own; the other methods are the reference that parity checks.
    """

    def __init__(self, hidden_size: int, num_heads: int, ffn_size: int, activation_name: str) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.self_norm = nn.LayerNorm(hidden_size)
        # Query, key and value in one matrix, in this order: one call where three read the same input.
        self.self_qkv = StepLinear(hidden_size, 3 * hidden_size)
        self.self_project = StepLinear(hidden_size, hidden_size)
        self.mlp_norm = nn.LayerNorm(hidden_size)
        self.mlp_in = StepLinear(hidden_size, ffn_size)
        self.mlp_activation = activation(activation_name, "decoder.activation_function")
        self.mlp_out = StepLinear(ffn_size, hidden_size)

    @torch.jit.export
    def attend_self(
        self, qkv: Tensor, k_cache: Tensor, v_cache: Tensor, position: int, bias: Tensor | None = None
    ) -> Tensor:
        """Queries, keys and values [B, T, 3 D] at slots `position`.. of the cache -> heads [B, T, H, hd].

        Writes columns [position, position + T) of both caches [B, H, L, hd] in place; reads those before.
        Caches may be narrower than float32. `bias` [B, 1, 1, position + T] is added to the scores.
        """
        columns = qkv.size(1)
        end = position + columns
        heads = qkv.view(qkv.size(0), columns, 3, self.num_heads, -1)
        query, key, value = heads.transpose(1, 3).unbind(2)
        k_cache.narrow(2, position, columns).copy_(key)
        v_cache.narrow(2, position, columns).copy_(value)
        mask: Tensor | None = None
        if bias is not None:
            mask = with_causal_mask(bias, position, columns)
        elif columns > 1:
            mask = causal_mask(position, columns, qkv)
        keys, values = k_cache.narrow(2, 0, end).to(qkv.dtype), v_cache.narrow(2, 0, end).to(qkv.dtype)
        return attend(query, keys, values, mask)

    @torch.jit.export
    def self_attn(
        self, x: Tensor, k_cache: Tensor, v_cache: Tensor, position: int, bias: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]; the rest as of attend_self."""
        return self.attend_self(self.self_qkv(self.self_norm(x)), k_cache, v_cache, position, bias)

    @torch.jit.export
    def self_out(self, z: Tensor) -> Tensor:
        """Heads [B, T, H, hd] -> [B, T, D], before the residual add."""
        return self.self_project(z.flatten(2))

    @torch.jit.export
    def mlp(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D], before the residual add."""
        return self.mlp_out(self.mlp_activation(self.mlp_in(self.mlp_norm(x))))


class DecoderLayer(Layer):
    """A layer that cross-attends to the text."""

    def __init__(self, hidden_size: int, num_heads: int, ffn_size: int, activation_name: str) -> None:
        super().__init__(hidden_size, num_heads, ffn_size, activation_name)
        self.cross_norm = nn.LayerNorm(hidden_size)
        self.cross_query = StepLinear(hidden_size, hidden_size)
        self.text_kv = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.cross_project = StepLinear(hidden_size, hidden_size)

    @torch.jit.export
    def cross_kv(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Projected text [P, S, D] -> keys and values, each [P, H, S, hd]; zero text gives exact zeros."""
        keys, values = self.text_kv(text).chunk(2, dim=-1)
        return (
            split_heads(keys, self.num_heads).contiguous(),
            split_heads(values, self.num_heads).contiguous(),
        )

    @torch.jit.export
    def attend_text(self, query: Tensor, k: Tensor, v: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
        """Queries [B, T, D] -> heads [B, T, H, hd]: `rows` [C] int64 attend to their texts.

        Other rows give zeros.

        k, v [C, H, S, hd] and bias [C, 1, 1, S] (0, or -inf on padding) are those of each such row's text.
        """
        query = split_heads(query, self.num_heads)
        heads = torch.zeros_like(query).transpose(1, 2).contiguous()
        if rows.size(0) > 0:
            heads.index_copy_(0, rows, attend(query.index_select(0, rows), k, v, bias))
        return heads

    @torch.jit.export
    def cross_attn(self, x: Tensor, k: Tensor, v: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]; the rest as of attend_text."""
        return self.attend_text(self.cross_query(self.cross_norm(x)), k, v, bias, rows)

    @torch.jit.export
    def cross_out(self, z: Tensor) -> Tensor:
        """Heads [B, T, H, hd] -> [B, T, D], before the residual add."""
        return self.cross_project(z.flatten(2))


# our name -> the modules inside transformers' layer; ours may hold several of theirs, one below the other
LAYER_WEIGHTS = {
    "self_norm": ("self_attn_layer_norm",),
    "self_qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_project": ("self_attn.out_proj",),
    "mlp_norm": ("final_layer_norm",),
    "mlp_in": ("fc1",),
    "mlp_out": ("fc2",),
}
CROSS_WEIGHTS = {
    "cross_norm": ("encoder_attn_layer_norm",),
    "cross_query": ("encoder_attn.q_proj",),
    "text_kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_project": ("encoder_attn.out_proj",),
}


def text_bias(mask: Tensor) -> Tensor:
    """Mask [C, S] bool, True = attended -> what `cross_attn` adds to its scores: [C, 1, 1, S] float32."""
    bias = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    return bias.masked_fill(~mask, -torch.inf)[:, None, None, :]


class Trunk(nn.Module):
    """What every decoder has around its layers: embeddings, positions, final norm and heads."""

    def __init__(self, config: Any, layer: type[Layer], num_positions: int) -> None:
        """Build from transformers' MusicgenDecoderConfig or MusicgenMelodyDecoderConfig."""
        super().__init__()
        width = config.hidden_size
        if width % config.num_attention_heads != 0:
            raise UnsupportedCheckpoint(
                f"decoder.hidden_size {width} is not a multiple of {config.num_attention_heads} heads"
            )
        self.num_codebooks: int = config.num_codebooks
        self.embeddings = nn.ModuleList(
            nn.Embedding(config.vocab_size + 1, width) for _ in range(config.num_codebooks)
        )
        self.register_buffer("positions", torch.empty(num_positions, width))
        self.layers = nn.ModuleList(
            layer(width, config.num_attention_heads, config.ffn_dim, config.activation_function)
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(StepLinear(width, config.vocab_size) for _ in range(config.num_codebooks))

    def sum_of_codes(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] int64 -> their embeddings [B, T, D], without positions."""
        x = torch.zeros(
            [codes.size(0), codes.size(2), self.positions.size(1)],
            dtype=self.positions.dtype,
            device=self.positions.device,
        )
        for k, table in enumerate(self.embeddings):
            x = x + table(codes[:, k])
        return x

    @torch.jit.export
    def final_norm(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.norm(x)

    @torch.jit.export
    def logits(self, x: Tensor) -> Tensor:
        """Normalised [B, T, D] -> [B, K, T, V]."""
        scores: list[Tensor] = []
        for head in self.heads:
            scores.append(head(x))
        return torch.stack(scores, dim=1)


def adopt_weights(
    decoder: Trunk, model: Any, layers: dict[str, tuple[str, ...]], modules: dict[str, Any], positions: Tensor
) -> None:
    """Point at the weights of transformers' model, `modules` by our names among them; only joined matrices
    are copies.

    `scale_embedding` has no effect because it has none in transformers: nothing there applies it.
    """
    inner = model.decoder.model.decoder
    weights: dict[str, Tensor] = {"positions": positions}
    modules = modules | {"norm": inner.layer_norm}
    for k in range(decoder.num_codebooks):
        modules[f"embeddings.{k}"] = inner.embed_tokens[k]
        modules[f"heads.{k}"] = model.decoder.lm_heads[k]
    for i, layer in enumerate(inner.layers):
        for ours, theirs in layers.items():
            if len(theirs) == 1:
                modules[f"layers.{i}.{ours}"] = layer.get_submodule(theirs[0])
            else:
                parts = [layer.get_submodule(name).weight.detach() for name in theirs]
                weights[f"layers.{i}.{ours}.weight"] = torch.cat(parts)
    for prefix, module in modules.items():
        weights.update({f"{prefix}.{name}": tensor for name, tensor in module.named_parameters()})
    adopt(decoder, weights)


class Decoder(Trunk):
    """The decoder of a MusicgenForConditionalGeneration: its layers cross-attend to the text."""

    def __init__(self, config: Any, text_hidden_size: int) -> None:
        """Build from transformers' MusicgenDecoderConfig; `text_hidden_size` is Dt."""
        super().__init__(config, DecoderLayer, config.max_position_embeddings)
        width = config.hidden_size
        self.text_projection: nn.Module = nn.Identity()
        if text_hidden_size != width:
            if config.cross_attention_hidden_size is not None:
                raise UnsupportedCheckpoint(
                    f"decoder.cross_attention_hidden_size is {config.cross_attention_hidden_size}: text "
                    f"states of width {text_hidden_size} would reach a decoder of width {width} unprojected"
                )
            self.text_projection = nn.Linear(text_hidden_size, width)

    @classmethod
    def from_hf(cls, model: Any) -> Decoder:
        """Point at the weights of a MusicgenForConditionalGeneration."""
        with torch.device("meta"):
            decoder = cls(model.config.decoder, model.config.text_encoder.hidden_size)
        modules = {}
        if isinstance(decoder.text_projection, nn.Linear):
            modules["text_projection"] = model.enc_to_dec_proj
        positions = model.decoder.model.decoder.embed_positions.weights
        adopt_weights(decoder, model, LAYER_WEIGHTS | CROSS_WEIGHTS, modules, positions)
        return decoder

    @torch.jit.export
    def project_text(self, states: Tensor, mask: Tensor) -> Tensor:
        """Text states [P, S, Dt] -> [P, S, D]; where mask [P, S] is zero the result is exactly zero."""
        projected = self.text_projection(states)
        return projected.masked_fill(~mask.to(torch.bool).unsqueeze(-1), 0.0)

    @torch.jit.export
    def embed(self, codes: Tensor, position: int) -> Tensor:
        """Codes [B, K, T] int64 at positions `position`.. -> [B, T, D], positions included."""
        return self.sum_of_codes(codes) + self.positions.narrow(0, position, codes.size(2))
