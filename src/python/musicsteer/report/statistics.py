"""Means over prompts and seeds with Student's t intervals, paired against alpha 0 for changes.

A *pair* is a (prompt, seed): the steered clip and the unsteered one share it, and with it their random
numbers, so what the two have in common cancels in the change. Intervals are 95 %: of a mean and of a
difference Student's, of a change in percent, a ratio of two means, Fieller's. Where the unsteered mean can't
be told from 0, a percentage has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
# Below this many pairs, a few odd clips decide where an interval lies.
FEW_PAIRS = 8


@dataclass(frozen=True)
class Estimate:
    """A statistic of each of M measures, its interval, and how many pairs it rests on.

    value, low, high: [M], NaN where undefined; low and high are NaN with fewer than two pairs, and where a
    percentage's unsteered mean can't be told from 0.
    count: [M].
    """

    value: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]


def _t(count: NDArray[np.int64]) -> Floats:
    """The quantile of Student's t that an interval of so many pairs takes; NaN below two. [M]."""
    quantile = stdtrit(np.maximum(count - 1, 1), 0.5 + CONFIDENCE / 2)
    return np.where(count >= 2, quantile, np.nan)


def _mean(values: Floats) -> Floats:
    """[pairs, M], NaN where missing -> [M]."""
    valid = np.isfinite(values)
    return np.where(valid, values, 0.0).sum(axis=0) / valid.sum(axis=0)


def _covariance(a: Floats, b: Floats) -> Floats:
    """Of the two means. [pairs, M] each, NaN in the same places -> [M]."""
    count = np.isfinite(a).sum(axis=0)
    return _mean((a - _mean(a)) * (b - _mean(b))) / (count - 1)


def _mean_interval(values: Floats) -> Estimate:
    """Student's, of each column's values that are not NaN."""
    count = np.isfinite(values).sum(axis=0)
    value = _mean(values)
    half_width = _t(count) * np.sqrt(_covariance(values, values))
    return Estimate(value, value - half_width, value + half_width, count)


def _ratio_interval(above: Floats, below: Floats) -> Estimate:
    """Fieller's, of the ratio of the columns' means; both are NaN in the same places."""
    count = np.isfinite(above).sum(axis=0)
    base = _mean(below)
    ratio = np.where(base > 0, _mean(above) / base, np.nan)
    t = _t(count)
    of_above, of_below, covariance = (
        _covariance(above, above), _covariance(below, below), _covariance(above, below),
    )  # fmt: skip
    g = t**2 * of_below / base**2
    slope = np.where(of_below > 0, covariance / of_below, 0.0)
    variance = of_above - 2 * ratio * covariance + ratio**2 * of_below - g * (of_above - slope * covariance)
    half_width = t / base * np.sqrt(np.maximum(variance, 0.0))
    middle = ratio - g * slope
    known = g < 1
    low = np.where(known, (middle - half_width) / (1 - g), np.nan)
    high = np.where(known, (middle + half_width) / (1 - g), np.nan)
    return Estimate(ratio, low, high, count)


def estimate_mean(values: Floats) -> Estimate:
    """Mean over pairs. values: [pairs, M], NaN where missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _mean_interval(values)


def estimate_change(steered: Floats, unsteered: Floats, ratio: NDArray[np.bool_]) -> Estimate:
    """Change of the mean against alpha 0, over the pairs that have both clips.

    steered, unsteered: [pairs, M], NaN where missing; ratio: [M], True for percent of the unsteered mean,
    False for the difference of the means.
    """
    both = np.isfinite(steered) & np.isfinite(unsteered)
    above, below = np.where(both, steered, np.nan), np.where(both, unsteered, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference, share = _mean_interval(above - below), _ratio_interval(above, below)

    def chosen(of_share: Floats, of_difference: Floats) -> Floats:
        return np.where(ratio, 100 * (of_share - 1), of_difference)

    return Estimate(
        chosen(share.value, difference.value),
        chosen(share.low, difference.low),
        chosen(share.high, difference.high),
        difference.count,
    )
