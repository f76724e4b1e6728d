"""The T5 encoder that conditions MusicGen, as one scriptable module.

Architecture: `T5EncoderModel` in transformers' modeling_t5.py. Pre-norm blocks of unscaled self-attention
with a relative position bias (the first block's table serves all) and a feed-forward pair, gated or not.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from musicsteer.torchscript.common import UnsupportedCheckpoint, activation, adopt


class RmsNorm(nn.Module):
    """Division by the root mean square, times a weight; no mean, no bias."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]; the mean of squares in float32."""
        mean_square = x.to(torch.float32).square().mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(mean_square + self.epsilon)).to(self.weight.dtype)


def distance_buckets(length: int, num_buckets: int, max_distance: int, device: torch.device) -> Tensor:
    """[S, S] int64: the bucket of (query, key), from key position minus query position.

    Half of the buckets are for keys behind the query, half for keys ahead. Within a half, small distances
    have a bucket each and larger ones share buckets that widen logarithmically up to `max_distance`.
    """
    place = torch.arange(length, device=device)
    offset = place.unsqueeze(0) - place.unsqueeze(1)
    half = num_buckets // 2
    exact = half // 2
    distance = offset.abs()
    ratio = torch.log(distance.clamp(min=1).to(torch.float32) / exact) / math.log(max_distance / exact)
    shared = (exact + (ratio * (half - exact)).to(torch.int64)).clamp(max=half - 1)
    return torch.where(distance < exact, distance, shared) + (offset > 0).to(torch.int64) * half


class SelfAttention(nn.Module):
    """Attention without the usual scale; the heads may be wider or narrower together than the states."""

    def __init__(self, width: int, num_heads: int, head_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, num_heads * head_size, bias=False)
        self.key = nn.Linear(width, num_heads * head_size, bias=False)
        self.value = nn.Linear(width, num_heads * head_size, bias=False)
        self.project = nn.Linear(num_heads * head_size, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """[P, S, H hd] -> [P, H, S, hd]."""
        return x.view(x.size(0), x.size(1), self.num_heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """States [P, S, Dt], bias [P, H, S, S] added to the scores -> [P, S, Dt]."""
        scores = torch.matmul(self.split(self.query(x)), self.split(self.key(x)).transpose(2, 3)) + bias
        mixed = torch.matmul(torch.softmax(scores, dim=-1), self.split(self.value(x)))
        return self.project(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """out(act(in x))."""

    def __init__(self, width: int, inner: int, act: nn.Module) -> None:
        super().__init__()
        self.act = act
        self.inp = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[P, S, Dt] -> [P, S, Dt]."""
        return self.out(self.act(self.inp(x)))


class GatedFeedForward(nn.Module):
    """out(act(gate x) * in x)."""

    def __init__(self, width: int, inner: int, act: nn.Module) -> None:
        super().__init__()
        self.act = act
        self.gate = nn.Linear(width, inner, bias=False)
        self.inp = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[P, S, Dt] -> [P, S, Dt]."""
        return self.out(self.act(self.gate(x)) * self.inp(x))


class Block(nn.Module):
    """One layer, residual adds included."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        act = activation(config.dense_act_fn, "text_encoder.feed_forward_proj")
        feed_forward = GatedFeedForward if config.is_gated_act else FeedForward
        self.attention_norm = RmsNorm(config.d_model, config.layer_norm_epsilon)
        self.attention = SelfAttention(config.d_model, config.num_heads, config.d_kv)
        self.mlp_norm = RmsNorm(config.d_model, config.layer_norm_epsilon)
        self.mlp = feed_forward(config.d_model, config.d_ff, act)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[P, S, Dt] -> [P, S, Dt]."""
        x = x + self.attention(self.attention_norm(x), bias)
        return x + self.mlp(self.mlp_norm(x))


class TextEncoder(nn.Module):
    """Token ids -> the encoder's last states."""

    def __init__(self, config: Any) -> None:
        """Build from transformers' T5Config."""
        super().__init__()
        self.num_buckets: int = config.relative_attention_num_buckets
        self.max_distance: int = config.relative_attention_max_distance
        if self.num_buckets < 4 or self.max_distance <= self.num_buckets // 4:
            raise UnsupportedCheckpoint(
                f"text_encoder.relative_attention_num_buckets {self.num_buckets} with "
                f"relative_attention_max_distance {self.max_distance} leaves no buckets to widen"
            )
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.distance_bias = nn.Embedding(self.num_buckets, config.num_heads)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RmsNorm(config.d_model, config.layer_norm_epsilon)

    @classmethod
    def from_hf(cls, model: Any) -> TextEncoder:
        """Point at the text encoder of a MusicgenForConditionalGeneration, without copies."""
        if model.config.text_encoder.model_type != "t5":
            raise UnsupportedCheckpoint(
                f"text_encoder.model_type is '{model.config.text_encoder.model_type}'; known: t5"
            )
        with torch.device("meta"):
            encoder = cls(model.config.text_encoder)
        stack = model.text_encoder.encoder
        first = stack.block[0].layer[0].SelfAttention
        weights = {
            "tokens.weight": model.text_encoder.get_input_embeddings().weight,
            "distance_bias.weight": first.relative_attention_bias.weight,
            "norm.weight": stack.final_layer_norm.weight,
        }
        gated = model.config.text_encoder.is_gated_act
        for i, block in enumerate(stack.block):
            attention, dense = block.layer[0].SelfAttention, block.layer[1].DenseReluDense
            names = {"attention_norm": block.layer[0].layer_norm, "mlp_norm": block.layer[1].layer_norm}
            names |= {"attention.query": attention.q, "attention.key": attention.k}
            names |= {"attention.value": attention.v, "attention.project": attention.o}
            names |= {"mlp.gate": dense.wi_0, "mlp.inp": dense.wi_1} if gated else {"mlp.inp": dense.wi}
            names["mlp.out"] = dense.wo
            weights.update({f"blocks.{i}.{name}.weight": module.weight for name, module in names.items()})
        adopt(encoder, weights)
        return encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids and mask [P, S] int64 (mask 0 = padding) -> states [P, S, Dt], also at padding."""
        x = self.tokens(ids)
        buckets = distance_buckets(ids.size(1), self.num_buckets, self.max_distance, ids.device)
        bias = self.distance_bias(buckets).permute(2, 0, 1).unsqueeze(0)
        hidden = (mask == 0)[:, None, None, :]
        # Near the lowest float32, not -inf: a text of nothing but padding must not give NaN.
        bias = bias.masked_fill(hidden, -3.0e38)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)
