"""Deliberate mistakes, one at a time, in the modules' building blocks or in the manifest.

Each is what someone could write by accident. A comparison that lets one of them pass proves nothing; the
tests demand that every one of them fails.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mutation_kit import MUTATIONS, Mutation, Patch, change_weights, injected, mistake
from torch import Tensor
from torch.nn import functional as F

from musicsteer.torchscript import codec, codec_layers, common, decoder, layer_loop, replay, text_encoder

__all__ = ["MUTATIONS", "Mutation", "injected"]

# The decoder


@mistake("tiny-mono")
def sees_the_future(patch: Patch) -> None:
    def causal_mask(position: int, columns: int, like: Tensor) -> Tensor:
        return torch.ones([columns, position + columns], dtype=torch.bool, device=like.device)

    patch(decoder, "causal_mask", causal_mask)


@mistake("six-codebooks")
def sees_one_too_few(patch: Patch) -> None:
    def causal_mask(position: int, columns: int, like: Tensor) -> Tensor:
        keys = torch.arange(position + columns, device=like.device).unsqueeze(0)
        queries = torch.arange(position, position + columns, device=like.device).unsqueeze(1)
        return (keys < queries) | (keys == 0)

    patch(decoder, "causal_mask", causal_mask)


@mistake("tiny-stereo")
def attention_not_scaled(patch: Patch) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0).transpose(1, 2)

    patch(decoder, "attend", attend)


@mistake("six-codebooks")
def scale_of_the_whole_width(patch: Patch) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scale = (q.size(1) * q.size(3)) ** -0.5
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)

    patch(decoder, "attend", attend)


@mistake("tiny-mono")
def head_layout_transposed(patch: Patch) -> None:
    def split_heads(x: Tensor, num_heads: int) -> Tensor:
        return x.view(x.size(0), x.size(1), -1, num_heads).permute(0, 3, 1, 2)

    patch(decoder, "split_heads", split_heads)


@mistake("tiny-mono")
def gelu_by_tanh(patch: Patch) -> None:
    patch(common, "ACTIVATIONS", common.ACTIVATIONS | {"gelu": common.GeluTanh})


@mistake("six-codebooks")
def gelu_by_erf(patch: Patch) -> None:
    patch(common, "ACTIVATIONS", common.ACTIVATIONS | {"gelu_new": common.Gelu})


@mistake("tiny-mono")
def positions_one_late(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        weights["positions"] = weights["positions"].roll(1, 0)

    change_weights(patch, decoder, change)


@mistake("full-vocabulary")
def sines_before_cosines(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        table = weights["positions"]
        weights["positions"] = table.roll(table.size(1) // 2, 1)

    change_weights(patch, decoder, change)


@mistake("six-codebooks")
def heads_of_codebooks_exchanged(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        weights["heads.1.weight"], weights["heads.2.weight"] = (
            weights["heads.2.weight"],
            weights["heads.1.weight"],
        )

    change_weights(patch, decoder, change)


@mistake("full-vocabulary")
def embeddings_scaled(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        for name in list(weights):
            if name.startswith("embeddings."):
                weights[name] = weights[name] * weights[name].size(1) ** 0.5

    change_weights(patch, decoder, change)


@mistake("odd-sizes")
def layer_norm_epsilon(patch: Patch) -> None:
    original = decoder.DecoderLayer.__init__

    def initialise(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self.cross_norm.eps = 1e-3

    patch(decoder.DecoderLayer, "__init__", initialise)


@mistake("tiny-stereo")
def norm_after_the_feed_forward(patch: Patch) -> None:
    @torch.jit.export
    def mlp(self, x: Tensor) -> Tensor:
        return self.mlp_norm(self.mlp_out(self.mlp_activation(self.mlp_in(x))))

    patch(decoder.DecoderLayer, "mlp", mlp)


@mistake("tiny-mono")
def null_text_keeps_its_bias(patch: Patch) -> None:
    @torch.jit.export
    def project_text(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.text_projection(states)

    patch(decoder.Decoder, "project_text", project_text)


@mistake("odd-sizes", in_comparison=True)
def padding_attended(patch: Patch) -> None:
    honest = decoder.text_bias
    patch(layer_loop, "text_bias", lambda mask: torch.zeros_like(honest(mask)))


@mistake("tiny-mono")
def every_row_reads_the_first_text(patch: Patch) -> None:
    @torch.jit.export
    def cross_attn(self, x: Tensor, k: Tensor, v: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
        query = decoder.split_heads(self.cross_query(self.cross_norm(x)), self.num_heads)
        heads = torch.zeros_like(query).transpose(1, 2).contiguous()
        first = [part[:1].expand_as(part) for part in (k, v, bias)]
        heads.index_copy_(0, rows, decoder.attend(query.index_select(0, rows), first[0], first[1], first[2]))
        return heads

    patch(decoder.DecoderLayer, "cross_attn", cross_attn)


# The text encoder


@mistake("tiny-mono")
def buckets_mirrored(patch: Patch) -> None:
    honest = text_encoder.distance_buckets

    def distance_buckets(length: int, num_buckets: int, max_distance: int, device: torch.device) -> Tensor:
        return honest(length, num_buckets, max_distance, device).t()

    patch(text_encoder, "distance_buckets", distance_buckets)


@mistake("tiny-stereo")
def buckets_of_a_causal_decoder(patch: Patch) -> None:
    def distance_buckets(length: int, num_buckets: int, max_distance: int, device: torch.device) -> Tensor:
        place = torch.arange(length, device=device)
        return (place.unsqueeze(1) - place.unsqueeze(0)).clamp(0, num_buckets // 2 - 1)

    patch(text_encoder, "distance_buckets", distance_buckets)


@mistake("six-codebooks")
def buckets_never_widen(patch: Patch) -> None:
    def distance_buckets(length: int, num_buckets: int, max_distance: int, device: torch.device) -> Tensor:
        place = torch.arange(length, device=device)
        offset = place.unsqueeze(0) - place.unsqueeze(1)
        half = num_buckets // 2
        return offset.abs().clamp(max=half - 1) + (offset > 0).to(torch.int64) * half

    patch(text_encoder, "distance_buckets", distance_buckets)


@mistake("full-vocabulary")
def text_attention_scaled(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        for name in list(weights):
            if name.endswith("attention.query.weight"):
                weights[name] = weights[name] * 32**-0.5

    change_weights(patch, text_encoder, change)


@mistake("tiny-stereo")
def gate_and_input_exchanged(patch: Patch) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        for name in [name for name in weights if name.endswith("gate.weight")]:
            other = name.replace("gate", "inp")
            weights[name], weights[other] = weights[other], weights[name]

    change_weights(patch, text_encoder, change)


@mistake("odd-sizes")
def rms_norm_with_a_mean(patch: Patch) -> None:
    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)

    patch(text_encoder.RmsNorm, "forward", forward)


@mistake("tiny-mono")
def text_padding_attended(patch: Patch) -> None:
    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        bias = bias.clamp(min=-1e4) * (bias > -1e4)
        scores = torch.matmul(self.split(self.query(x)), self.split(self.key(x)).transpose(2, 3)) + bias
        mixed = torch.matmul(torch.softmax(scores, dim=-1), self.split(self.value(x)))
        return self.project(mixed.transpose(1, 2).flatten(2))

    patch(text_encoder.SelfAttention, "forward", forward)


# The codec


@mistake("tiny-mono")
def codec_pads_with_zeros(patch: Patch) -> None:
    def pad_columns(x: Tensor, left: int, right: int, mode: str) -> Tensor:
        return F.pad(x, [left, right])

    patch(codec_layers, "pad_columns", pad_columns)


@mistake("tiny-stereo")
def causal_padding_on_both_sides(patch: Patch) -> None:
    honest = codec_layers.Conv.__init__

    def initialise(self: Any, *arguments: Any, **named: Any) -> None:
        honest(self, *arguments, **named)
        self.causal = False

    patch(codec_layers.Conv, "__init__", initialise)


@mistake("tiny-stereo")
def trimmed_at_the_wrong_end(patch: Patch) -> None:
    honest = codec_layers.UpConv.__init__

    def initialise(self: Any, *arguments: Any) -> None:
        honest(self, *arguments)
        self.trim_left, self.trim_right = self.trim_left + self.trim_right, 0

    patch(codec_layers.UpConv, "__init__", initialise)


@mistake("six-codebooks")
def lstm_without_its_skip(patch: Patch) -> None:
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = x.permute(2, 0, 1)
        h, c = state
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x, layer_h, layer_c = layer(x, h[i : i + 1].contiguous(), c[i : i + 1].contiguous())
            last_h.append(layer_h)
            last_c.append(layer_c)
        return x.permute(1, 2, 0), (torch.cat(last_h), torch.cat(last_c))

    patch(codec_layers.Lstm, "forward", forward)


@mistake("six-codebooks")
def dilation_forgotten(patch: Patch) -> None:
    honest = codec_layers.Conv.__init__

    def initialise(self: Any, *arguments: Any, dilation: int = 1, **named: Any) -> None:
        honest(self, *arguments, **named)

    patch(codec_layers.Conv, "__init__", initialise)


@mistake("full-vocabulary")
def quantiser_not_residual(patch: Patch) -> None:
    @torch.jit.export
    def quantise(self, x: Tensor) -> Tensor:
        flat = x.transpose(1, 2)
        codes: list[Tensor] = []
        for table in self.tables:
            codes.append(torch.cdist(flat, table.unsqueeze(0)).argmin(-1))
        return torch.stack(codes, dim=1)

    patch(codec_layers.Quantiser, "quantise", quantise)


@mistake("odd-sizes")
def weight_norm_not_folded(patch: Patch) -> None:
    honest = codec.plain_weights

    def plain_weights(module: Any) -> dict[str, Tensor]:
        if "conv" in dict(module.named_children()) and hasattr(module.conv, "parametrizations"):
            module = copy.deepcopy(module)
            weight = module.conv.parametrizations.weight
            weight.original0.data = weight.original1.norm(dim=(1, 2), keepdim=True)
        return honest(module)

    patch(codec, "plain_weights", plain_weights)


# The manifest and the loop around the modules


def no_patch(patch: Patch) -> None:
    """The mistake is in the manifest."""


def delays_grow_within_a_pair(manifest: dict[str, Any]) -> None:
    manifest["decoder"]["delays"] = list(range(manifest["decoder"]["num_codebooks"]))


def delays_start_at_one(manifest: dict[str, Any]) -> None:
    manifest["decoder"]["delays"] = [delay + 1 for delay in manifest["decoder"]["delays"]]


def start_token_of_the_last_code(manifest: dict[str, Any]) -> None:
    manifest["decoder"]["start_token"] -= 1


MUTATIONS += [
    Mutation(change.__name__, shape, no_patch, change)
    for shape, change in [
        ("tiny-stereo", delays_grow_within_a_pair),
        ("tiny-mono", delays_start_at_one),
        ("full-vocabulary", start_token_of_the_last_code),
    ]
]


@mistake("tiny-mono", in_comparison=True)
def guidance_rows_exchanged(patch: Patch) -> None:
    def guided(logits: Tensor, scale: float) -> Tensor:
        null, conditional = logits.chunk(2)
        return null + scale * (conditional - null)

    patch(replay, "guided", guided)
