"""Samples clips from a MusicGen with hooks on its layers: what the gates and first looks at steering use.

The project's own engine does this in C++; this is its independent, short Python counterpart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from codec import decode_clips
from lm import GUIDANCE_SCALE, TEMPERATURE, TOP_K, text_states, tokenize
from lm_data import HALF
from optimiser import fastest_type
from torch import Tensor
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache, EncoderDecoderCache


@contextmanager
def layer_hooks(
    model: MusicgenForConditionalGeneration,
    add: dict[int, Tensor] | None = None,
    means: dict[int, Tensor] | None = None,
) -> Iterator[None]:
    """Edits and reads the outputs of decoder layers while it is open.

    add: layer -> [D] or [rows, 1, D], added to the residual stream at every position; rows are conditional
    rows first, then as many null rows. means: filled with layer -> sum over positions of the conditional
    rows, [B, D].
    """

    def hook_of(layer: int):
        def hook(_module, _inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if add and layer in add:
                hidden = hidden + add[layer].to(hidden.dtype)
            if means is not None:
                total = hidden[: len(hidden) // 2].float().sum(1)
                means[layer] = means[layer] + total if layer in means else total
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    layers = model.decoder.model.decoder.layers
    handles = [layer.register_forward_hook(hook_of(index)) for index, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def sample_codes(
    model: MusicgenForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    frames: int = HALF,
    seed: int = 0,
    groups: int = 1,
    guidance: float = GUIDANCE_SCALE,
    top_k: int = TOP_K,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """[B, K, frames] codes. With groups = G, G equal groups of prompts share their random numbers."""
    generator = torch.Generator().manual_seed(seed)
    batch, codebooks = len(prompts), model.decoder.config.num_codebooks
    start = model.decoder.config.pad_token_id
    ids, mask = tokenize(tokenizer, prompts)
    sequence = torch.full((batch, codebooks, frames + codebooks), start, dtype=torch.long)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.autocast("cpu", torch.bfloat16, enabled=fastest_type() == torch.bfloat16):
        states = text_states(model, ids, mask)
        states, mask = torch.cat([states, torch.zeros_like(states)]), torch.cat([mask, mask])
        for position in range(frames + codebooks - 1):
            inputs = sequence[:, :, position].reshape(-1, 1)
            logits = model.decoder(
                input_ids=torch.cat([inputs, inputs]),
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            conditional, null = logits.float().view(2, batch, codebooks, -1)
            guided = (null + guidance * (conditional - null)) / temperature
            kept = min(top_k, guided.shape[-1])
            guided[guided < guided.topk(kept, -1).values[..., -1:]] = -torch.inf
            shape = (batch // groups, codebooks, guided.shape[-1])
            uniform = torch.rand(shape, generator=generator).clamp_(1e-9, 1 - 1e-7)
            chosen = (guided - (-uniform.log()).log().repeat(groups, 1, 1)).argmax(-1)
            for k in range(codebooks):
                if k <= position < k + frames:
                    sequence[:, k, position + 1] = chosen[:, k]
    return torch.stack([sequence[:, k, 1 + k : 1 + k + frames] for k in range(codebooks)], 1)


def decode(model: MusicgenForConditionalGeneration, codes: Tensor) -> np.ndarray:
    """[B, K, T] codes -> [B, N] samples, a few clips at a time."""
    blocks = [decode_clips(model.audio_encoder, codes[i : i + 4]).numpy() for i in range(0, len(codes), 4)]
    return np.concatenate(blocks)


def mean_states(
    model: MusicgenForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    frames: int,
    seed: int,
) -> Tensor:
    """Mean over the generated frames of every layer's output, conditional rows: [layers, B, D]."""
    sums: dict[int, Tensor] = {}
    with layer_hooks(model, means=sums):
        sample_codes(model, tokenizer, prompts, frames, seed)
    steps = frames + model.decoder.config.num_codebooks - 1
    return torch.stack([sums[layer] / steps for layer in sorted(sums)])
