"""The runs that several test files share."""

from __future__ import annotations

import torch
from job import Injection, Request, Run
from reference import Reference
from torch import Tensor

PROMPTS = (
    "a calm piano melody with soft strings",
    "fast drums and bass",
    "",
    "slow dark ambient synth pad, quiet acoustic guitar, a happy dance rhythm with bright strings and drums",
)


def batch() -> tuple[Request, ...]:
    """Prompts of unequal length, a negative prompt and an unconditional clip."""
    first, second, third, fourth = PROMPTS
    return (
        Request(first, seed=11),
        Request(second, seed=12, negative_prompt="sad quiet music"),
        Request(third, seed=13),
        Request(unconditional=True, seed=14),
        Request(fourth, seed=15),
    )


def alone() -> tuple[Request, ...]:
    return (Request(PROMPTS[0], seed=11),)


def random_codes(reference: Reference, requests: int, frames: int, seed: int = 0) -> Tensor:
    """[R, K, frames]"""
    draw = torch.Generator().manual_seed(seed)
    shape = (requests, reference.num_codebooks, frames)
    return torch.randint(reference.vocabulary, shape, generator=draw)


def random_vector(reference: Reference, seed: int) -> Tensor:
    """[D] of about the length that activations have."""
    return torch.randn(reference.width, generator=torch.Generator().manual_seed(seed))


def steered_batch(reference: Reference) -> tuple[Request, ...]:
    """Rows of one batch steered differently: several vectors at once, one kind of row, none, zero."""
    last = reference.layers - 1

    def injection(seed: int, point: str, strength: float, rows: str = "both") -> Injection:
        return Injection(f"decoder.{point}", random_vector(reference, seed), strength, rows)

    everywhere = tuple(
        injection(20 + i, f"{layer}.resid_post", 0.4, "conditional")
        for i, layer in enumerate(range(reference.layers))
    )
    mixed = (
        injection(1, "0.self_attn_heads", -1.3),
        injection(2, "1.resid_post_cross", 0.8, "conditional"),
        injection(3, "1.resid_post_cross", -0.5),
        injection(4, f"{last}.mlp_out", 2.0),
        injection(5, f"{last}.resid_pre", 0.0),
    )
    zero = (injection(6, "0.resid_post", 0.0),)
    first, second, third, fourth = PROMPTS
    return (
        Request(first, injections=mixed),
        Request(second, negative_prompt="sad quiet music", injections=everywhere),
        Request(third, injections=zero),
        Request(fourth),
        Request(unconditional=True, injections=mixed),
    )


def teacher_forced(reference: Reference, requests: tuple[Request, ...], frames: int, **options: float) -> Run:
    """A clip whose codes are all given, taken in single steps."""
    codes = random_codes(reference, len(requests), frames)
    return Run(requests, frames, prefill_chunk=1, **options).given(codes)  # type: ignore[arg-type]
