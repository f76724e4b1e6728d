"""Means over prompts and seeds with bootstrap intervals, paired against alpha 0 for changes.

A *pair* is a (prompt, seed): the steered clip and the unsteered one share it, and with it their random
numbers. The interval is the percentile bootstrap: pairs are drawn with replacement, `RESAMPLES` times, and
the 2.5th and 97.5th percentiles of the statistic are its ends. Resamples in which the statistic is undefined,
such as percent of 0, are left out; if they are more than 2.5 %, the ends could lie anywhere, and there is no
interval. Drawing whole pairs keeps each steered clip
together with its unsteered one, so what the two have in common cancels in the change.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
SEED = 0
TAIL = 2.5  # percent on either side of an interval
# Below this many pairs, percentile intervals are too narrow to be trusted.
FEW_PAIRS = 8


@dataclass(frozen=True)
class Estimate:
    """A statistic of each of M measures, its interval, and how many pairs it rests on.

    value, low, high: [M], NaN where undefined; low and high are NaN with fewer than two pairs, and where more
    than 2.5 % of the resamples are undefined.
    count: [M].
    """

    value: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]


def resampling_weights(pairs: int, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """How often each pair is drawn in each resample: [resamples, pairs], rows summing to `pairs`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(pairs, np.full(pairs, 1 / pairs), size=resamples).astype(np.float64)


def _with_interval(value: Floats, resampled: Floats, count: NDArray[np.int64], drawn: Floats) -> Estimate:
    """value [M]; resampled [resamples, M]; count [M]; drawn [resamples, M], how many pairs with a value."""
    defined = np.isfinite(resampled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a measure that no clip has is NaN throughout
        low, high = np.nanpercentile(np.where(defined, resampled, np.nan), [TAIL, 100 - TAIL], axis=0)
    # A resample of nothing but pairs without a value is none.
    undefined = np.sum(~defined & (drawn > 0), axis=0)
    enough = (count >= 2) & np.isfinite(value) & (100 * undefined <= TAIL * np.sum(drawn > 0, axis=0))
    return Estimate(value, np.where(enough, low, np.nan), np.where(enough, high, np.nan), count)


def estimate_mean(values: Floats, weights: Floats) -> Estimate:
    """Mean over pairs. values: [pairs, M], NaN where missing; weights: [resamples, pairs]."""
    valid = np.isfinite(values)
    filled = np.where(valid, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = filled.sum(axis=0) / valid.sum(axis=0)
        drawn = weights @ valid.astype(np.float64)
        resampled = (weights @ filled) / drawn
    return _with_interval(value, resampled, valid.sum(axis=0), drawn)


def estimate_change(
    steered: Floats, unsteered: Floats, ratio: NDArray[np.bool_], weights: Floats
) -> Estimate:
    """Change of the mean against alpha 0, over the pairs that have both clips.

    steered, unsteered: [pairs, M], NaN where missing; ratio: [M], True for percent of the unsteered mean,
    False for the difference of the means; weights: [resamples, pairs].
    """
    valid = np.isfinite(steered) & np.isfinite(unsteered)
    above, below = np.where(valid, steered, 0.0), np.where(valid, unsteered, 0.0)
    share = valid.astype(np.float64)

    def change(numerator: Floats, denominator: Floats, count: Floats) -> Floats:
        return np.where(ratio, 100 * (numerator / denominator - 1), (numerator - denominator) / count)

    with np.errstate(invalid="ignore", divide="ignore"):
        value = change(above.sum(axis=0), below.sum(axis=0), share.sum(axis=0))
        drawn = weights @ share
        resampled = change(weights @ above, weights @ below, drawn)
    value = np.where(np.isfinite(value), value, np.nan)
    return _with_interval(value, resampled, valid.sum(axis=0), drawn)
