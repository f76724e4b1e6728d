"""What pairs do along a curve: the measure that moves most, how many pairs agree, which is played first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from musicsteer.report.curves import Curve, Pair
from musicsteer.report.measures import OPENING
from musicsteer.report.statistics import Floats


@dataclass(frozen=True)
class Agreement:
    """Of how many pairs a measure is higher, and lower, at the highest strength than at the lowest."""

    rising: int
    falling: int
    count: int


def _rises(curve: Curve) -> Floats:
    """Highest strength minus lowest. [pairs, M], NaN where either clip is missing."""
    return curve.values[-1] - curve.values[0]


def agreement_of(curve: Curve, index: int) -> Agreement:
    """For one of the curve's measures."""
    rises = _rises(curve)[:, index]
    rises = rises[np.isfinite(rises)]
    return Agreement(int((rises > 0).sum()), int((rises < 0).sum()), len(rises))


def moved_most(curve: Curve, keys: list[str]) -> str:
    """The measure of OPENING that rises or falls most from the lowest to the highest strength.

    The rise is that of the mean over pairs, in standard deviations of the pairs' rises; with a single pair,
    in shares of the mean. keys: the curve's measures.
    """
    candidates = [key for key in OPENING if key in keys] or keys

    def size(key: str) -> float:
        index = keys.index(key)
        rises = _rises(curve)[:, index]
        rises = rises[np.isfinite(rises)]
        if len(rises) == 0 or not rises.any():
            return -math.inf
        spread = rises.std(ddof=1) if len(rises) > 1 else abs(np.nanmean(curve.values[:, :, index]))
        return float(abs(rises.mean()) / spread) if spread > 0 else math.inf

    return max(candidates, key=size)


def by_steadiness(curve: Curve, index: int) -> list[Pair]:
    """The pairs, those first whose measure follows the strength most steadily.

    A pair is as steady as the share of its pairs of strengths that are in the order of the means' (Kendall's
    tau); equally steady ones are in the order of their rise.
    """
    values = curve.values[:, :, index]
    rises = _rises(curve)[:, index]
    sign = -1.0 if np.isfinite(rises).any() and np.nanmean(rises) < 0 else 1.0
    lower, higher = np.triu_indices(len(values), 1)
    steps = np.sign(sign * (values[higher] - values[lower]))
    steady = np.where(np.isfinite(steps), steps, 0.0).sum(axis=0)
    rise = np.where(np.isfinite(rises), sign * rises, -np.inf)
    return [curve.pairs[row] for row in np.lexsort((-rise, -steady))]
