"""Comparing a bundle with transformers: the differences between two sides' tensors of the same names.

Names are those of the hook points (`decoder.{i}.{site}`) and of what lies around them. Every tensor has to
agree to BOUND times the reference's largest value; integers have to be equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# float32's own noise. Against float64, transformers errs by up to 1.2e-5 of the largest value and the
# modules by up to 1.1e-5 (heads of cross-attention, six-codebooks); they may differ by the sum, and on some
# processors do.
BOUND = 2.5e-5


@dataclass(frozen=True)
class Difference:
    """One tensor's largest error, as a share of the reference's largest value."""

    name: str
    share: float
    ok: bool
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.remark or f'error {self.share:.1e} of the largest value'}"


def difference(name: str, expected: Tensor, actual: Tensor | None, bound: float) -> Difference:
    """Compare one tensor."""
    if actual is None:
        return Difference(name, torch.inf, False, "missing")
    if actual.shape != expected.shape:
        return Difference(name, torch.inf, False, f"shape {list(actual.shape)}, not {list(expected.shape)}")
    if not expected.is_floating_point():
        unequal = int((expected != actual).sum())
        return Difference(name, float(unequal), unequal == 0, f"{unequal} unequal" if unequal else "equal")
    error = float((actual.double() - expected.double()).abs().max())
    share = error / max(float(expected.abs().max()), 1e-30)
    return Difference(name, share, share <= bound)  # a NaN is not <= anything


def compare(expected: dict[str, Tensor], actual: dict[str, Tensor], bound: float = BOUND) -> list[Difference]:
    """Every tensor of the reference against the bundle's, in the reference's order."""
    return [difference(name, tensor, actual.get(name), bound) for name, tensor in expected.items()]
