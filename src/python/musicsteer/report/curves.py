"""The statistics of a sweep: for each condition, every measure at every alpha."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicsteer.report.conditions import Condition, Settings, Term, labels_of
from musicsteer.report.loading import Clip, Sweep
from musicsteer.report.measures import BY_KEY
from musicsteer.report.statistics import Estimate, Floats, estimate_change, estimate_mean

Pair = tuple[str | None, int]


@dataclass(frozen=True)
class Point:
    """One alpha of a curve: each of M measures, and its change against alpha 0 (None without one)."""

    alpha: float
    mean: Estimate
    change: Estimate | None


@dataclass(frozen=True)
class Curve:
    """A condition with its points in rising order of alpha.

    values: [points, pairs, M], what each pair has; NaN where there is no clip or no value.
    """

    condition: Condition
    label: str
    points: list[Point]
    pairs: list[Pair]
    values: Floats


def settings_of(sweep: Sweep) -> list[Settings]:
    """The distinct sampling settings, in order of appearance."""
    return list(dict.fromkeys(clip.settings for clip in sweep.clips))


def conditions_of(sweep: Sweep) -> list[Condition]:
    """The distinct conditions, in order of appearance: concepts together, then strategies, then layers."""
    found = dict.fromkeys(clip.condition for clip in sweep.clips if clip.condition is not None)
    order = list(found)
    concepts = list(dict.fromkeys(condition.term.concept for condition in order))
    strategies = list(dict.fromkeys(condition.term.strategy for condition in order))

    def key(condition: Condition) -> tuple[int, int, int, tuple[int, ...]]:
        term = condition.term
        return (concepts.index(term.concept), strategies.index(term.strategy), -len(term.layers), term.layers)

    return sorted(order, key=key)


def _values(clips: list[Clip], pairs: list[Pair], keys: list[str]) -> Floats:
    """[pairs, M], NaN where there is no clip or no value."""
    row_of = {pair: row for row, pair in enumerate(pairs)}
    values = np.full((len(pairs), len(keys)), np.nan)
    for clip in clips:
        values[row_of[clip.pair]] = [clip.measure(key) * BY_KEY[key].scale for key in keys]
    return values


def curves_of(sweep: Sweep, keys: list[str]) -> list[Curve]:
    """The curve of each condition, over all its prompts and seeds; keys: the M measures."""
    ratio = np.array([BY_KEY[key].change == "ratio" for key in keys])
    unsteered: dict[Settings, list[Clip]] = {}
    steered: dict[Condition, dict[float, list[Clip]]] = {}
    for clip in sweep.clips:
        if clip.condition is None:
            unsteered.setdefault(clip.settings, []).append(clip)
        else:
            steered.setdefault(clip.condition, {}).setdefault(clip.alpha, []).append(clip)

    conditions = conditions_of(sweep)
    curves = []
    for condition, label in zip(conditions, labels_of(conditions), strict=True):
        by_alpha = dict(steered[condition])
        # An unsteered clip is alpha 0 of every curve with its settings, unless other vectors stay on at 0.
        if not condition.others and condition.settings in unsteered:
            by_alpha.setdefault(0.0, unsteered[condition.settings])
        pairs = list(dict.fromkeys(clip.pair for clips in by_alpha.values() for clip in clips))
        values = {alpha: _values(clips, pairs, keys) for alpha, clips in by_alpha.items()}
        zero = values.get(0.0)
        points = [
            Point(
                alpha,
                estimate_mean(values[alpha]),
                None if zero is None else estimate_change(values[alpha], zero, ratio),
            )
            for alpha in sorted(values)
        ]
        every = np.stack([values[alpha] for alpha in sorted(values)])
        curves.append(Curve(condition, label, points, pairs, every))
    return curves


def count_missing(sweep: Sweep) -> int:
    """How many clips of the plans, of every prompt and seed at every strength, are not there."""
    present = {(clip.pair, clip.settings, clip.condition, clip.alpha) for clip in sweep.clips}
    return len({key for plan in sweep.plans.values() for key in _planned(plan)} - present)


def _planned(plan: dict[str, Any]) -> Iterator[tuple[Pair, Settings, Condition | None, float]]:
    """What tells the clips of a plan apart; the unsteered ones have no condition and alpha 0."""
    settings = Settings.of(plan)
    ways: list[tuple[Condition | None, float]] = []
    for entry in plan.get("steering", []):
        condition = Condition(settings, Term.of(entry))
        ways += [(condition if alpha else None, float(alpha)) for alpha in entry["alphas"]]
    if not plan.get("steering"):
        ways = [(None, 0.0)]
    for prompt in plan.get("prompts", []):
        for seed in plan.get("seeds", []):
            yield from (((prompt["text"], seed), settings, *way) for way in ways)
