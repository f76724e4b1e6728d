"""A clip that is longer than a window, on transformers: audiocraft's loop (MusicGen._generate_tokens with
`extend_stride`) around reference.py, in which codes are given and known again without their delays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from job import Run
from reference import Reference
from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """What one window gave."""

    first: int  # its frame of the clip
    given: int  # how many of its frames were
    result: dict[str, Tensor]


def windowed(reference: Reference, run: Run) -> tuple[Tensor, list[Piece]]:
    """Greedy codes [R, K, N], and the windows one by one. Codes that the run gives must fit the first."""
    assert run.window is not None
    length, stride = run.window
    prompt = run.requests[0].forced_codes
    tokens = torch.empty(len(run.requests), reference.num_codebooks, 0, dtype=torch.long)
    if prompt is not None:
        tokens = torch.stack([request.forced_codes for request in run.requests])
    all_tokens, pieces, offset = [tokens], [], 0
    while offset + tokens.size(2) < run.frames:
        frames = min(run.frames - offset, length)
        part = dataclasses.replace(run, frames=frames, window=None).given(tokens)
        result = reference.run(part, first=offset, total=run.frames)
        pieces.append(Piece(offset, tokens.size(2), result))
        all_tokens.append(result["codes"][:, :, tokens.size(2) :])
        tokens = result["codes"][:, :, stride:]
        offset += stride
    return torch.cat(all_tokens, dim=2), pieces
