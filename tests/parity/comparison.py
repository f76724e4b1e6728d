"""Holding what the engine produced to what transformers produced.

The honest tests and the tests of deliberate mistakes call the same functions: a mistake that passes in
one would pass in the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from job import Engine, Output, Run
from reference import Reference
from torch import Tensor

from musicsteer.torchscript.parity import BOUND, Difference, difference

# A greedy choice may fall either way where the two best logits are nearer than this many measured errors.
MARGIN_ERRORS = 10.0
# Shares of all greedy choices that may be near ties. An honest engine has about one in several thousand.
MOST_NEAR_TIES = 2e-3


def compare_tensors(expected: dict[str, Tensor], actual: Output, bound: float = BOUND) -> list[Difference]:
    """Every float tensor of `expected` that the run was asked to dump."""
    return [
        difference(name, tensor, actual.tensors.get(name), bound)
        for name, tensor in expected.items()
        if tensor.is_floating_point()
    ]


@dataclass(frozen=True)
class NearTie:
    """A greedy choice that fell otherwise, where transformers' two best logits nearly tie."""

    request: int
    frame: int
    codebook: int
    margin: float
    error: float


@dataclass
class GreedyComparison:
    """A free-running greedy run against transformers'."""

    choices: int = 0
    near_ties: list[NearTie] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)  # of guided logits
    failure: str = ""  # why the codes differ, if they do

    @property
    def ok(self) -> bool:
        return not self.failure and all(d.ok for d in self.differences)


def first_unequal(expected: Any, actual: Any, delays: list[int]) -> tuple[int, int, int] | None:
    """(position, request, codebook) of the first greedy choice that differs, by both sides' guided logits.

    Given codes are judged too: the engine's logits there say what it would have chosen.
    """
    theirs, ours = expected["guided"].argmax(-1), actual["guided"].argmax(-1)  # [R, K, positions]
    frames = expected["codes"].size(2)
    positions = torch.arange(theirs.size(2))
    lag = torch.tensor(delays)[:, None]
    decided = (positions >= lag) & (positions - lag < frames)  # [K, positions]
    unequal = ((theirs != ours) & decided).permute(2, 0, 1).nonzero()
    return tuple(unequal[0].tolist()) if len(unequal) else None


def compare_greedy(engine: Engine, reference: Reference, run: Run) -> GreedyComparison:
    """Run free until a near tie, then feed the reference's code there and go on; at most a few times."""
    expected = reference.run(run)
    result = GreedyComparison(choices=expected["codes"].numel())
    most = max(1, int(MOST_NEAR_TIES * result.choices))
    excused: set[tuple[int, int, int]] = set()
    attempt = run.dumping("logits", "sink")
    while True:
        actual = engine.run(attempt)
        if actual.error:
            result.failure = actual.error
            return result
        if actual["guided"].shape != expected["guided"].shape:
            result.failure = f"guided logits of shape {list(actual['guided'].shape)}"
            return result
        masked = (mask_excused(side, excused) for side in (expected, actual))
        found = first_unequal(*masked, reference.delays)
        end = expected["guided"].size(2) if found is None else found[0] + 1
        theirs, ours = (side["guided"][:, :, :end] for side in (expected, actual))
        result.differences = [difference("guided", theirs, ours, BOUND)]
        if found is None:
            if not torch.equal(actual["codes"], actual["sink"]):
                result.failure = "the frame sink got other codes than the session returned"
            elif not torch.equal(expected["codes"], actual["codes"]):
                result.failure = "the codes are not the largest logits'"
            return result
        position, request, codebook = found
        frame = position - reference.delays[codebook]
        best = expected["guided"][request, codebook, position].topk(2).values
        margin, error = float(best[0] - best[1]), float((theirs - ours).abs().max())
        if not margin < MARGIN_ERRORS * error or not result.differences[0].ok:
            place = f"request {request}, frame {frame}, codebook {codebook}"
            result.failure = f"{place}: margin {margin:.1e}, error {error:.1e}"
            return result
        result.near_ties.append(NearTie(request, frame, codebook, margin, error))
        if len(result.near_ties) > most:
            result.failure = f"{len(result.near_ties)} near ties among {result.choices} choices"
            return result
        excused.add((request, codebook, position))
        attempt = attempt.given(expected["codes"][:, :, : frame + 1])


def mask_excused(side: Any, excused: set[tuple[int, int, int]]) -> Any:
    """The same tensors, with listed near ties made to agree."""
    if not excused:
        return side
    guided = side["guided"].clone()
    for request, codebook, position in excused:
        guided[request, codebook, position] = 0.0
    tensors = {"guided": guided, "codes": side["codes"]}
    return tensors


def worst(differences: list[Difference]) -> str:
    """The failing ones, for an assertion's message."""
    return "; ".join(str(d) for d in differences if not d.ok)


def same_clip(one: Output, place: int, other: Output, other_place: int) -> bool:
    """Codes, guided logits and samples of a clip are the same bits in two batches."""
    return all(
        torch.equal(one[name][place], other[name][other_place]) for name in ("codes", "guided", "samples")
    )
