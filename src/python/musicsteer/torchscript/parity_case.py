"""What a bundle and transformers both compute on: texts, codes, samples, a melody and steering."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from musicsteer.torchscript.melody import NUM_CHROMA


@dataclass(frozen=True)
class Steer:
    """A vector [D] added at one hook point, on rows [first, last)."""

    layer: int
    site: str
    vector: Tensor
    rows: tuple[int, int]

    def apply(self, x: Tensor) -> Tensor:
        """[B, T, D] with the vector added to the chosen rows."""
        x = x.clone()
        x[self.rows[0] : self.rows[1]] += self.vector
        return x

    def of_request(self, request: int, requests: int) -> list[Steer]:
        """The same, on the two rows that a request has by itself."""
        first, last = self.rows
        own = [first <= row < last for row in (request, requests + request)]
        return [replace(self, rows=(row, row + 1)) for row in (0, 1) if own[row]]


@dataclass
class Case:
    """What both sides compute on. The last text is the null one: its mask is zero."""

    ids: Tensor  # [P, S] int64
    mask: Tensor  # [P, S] int64, 0 = padding
    prompt_of_row: Tensor  # [B] int64: first the conditional rows, then as many on the null text
    frames: Tensor  # [B / 2, K, N] int64: undelayed codes to feed, the same for both halves of the batch
    samples: Tensor  # [b, C, n] float32, for the codec
    guidance: float = 3.0
    steer: list[Steer] = field(default_factory=list)
    melody: Tensor | None = None  # [F, 12] one-hot chroma, for the conditional rows of a model with a prefix


def make_case(manifest: dict[str, Any], seed: int, requests: int = 2, num_frames: int = 9) -> Case:
    """Random texts of unequal length, codes and samples that fit the manifest's sizes."""
    draw = torch.Generator().manual_seed(seed)
    decoder, codec, text = manifest["decoder"], manifest["codec"], manifest["text_encoder"]
    texts, length = max(2, requests - 1) + 1, 11  # three requests: the third shares the first one's text
    ids = torch.randint(3, text["vocab_size"], [texts, length], generator=draw)
    mask = torch.ones_like(ids)
    for p in range(texts):
        mask[p, max(1, length - 4 * p) if p < texts - 1 else 0 :] = 0
    ids = torch.where(mask == 0, text["pad_token_id"], ids)
    rows = [r % (texts - 1) for r in range(requests)] + [texts - 1] * requests
    frames = [requests, decoder["num_codebooks"], num_frames]
    hop = codec["hop_length"]
    return Case(
        ids=ids,
        mask=mask,
        prompt_of_row=torch.tensor(rows),
        frames=torch.randint(decoder["codebook_size"], frames, generator=draw),
        samples=0.5 * torch.randn([requests, codec["channels"], 7 * hop + hop // 2 + 1], generator=draw),
        guidance=guidance if (guidance := manifest["generation_defaults"]["guidance_scale"]) > 1 else 3.0,
        melody=make_melody(manifest["conditioning"], draw),
    )


def make_melody(conditioning: dict[str, Any], draw: torch.Generator) -> Tensor | None:
    """Random one-hot chroma that is repeated two and a half times or so; None for a model that hears none."""
    if conditioning["type"] != "prefix":
        return None
    frames = max(2, 2 * conditioning["chroma_length"] // 5)
    return torch.eye(NUM_CHROMA)[torch.randint(NUM_CHROMA, [frames], generator=draw)]
