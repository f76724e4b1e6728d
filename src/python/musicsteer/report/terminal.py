"""A sweep's curves as text for a terminal: `musicsteer report --table`."""

from __future__ import annotations

import math

from musicsteer.report.conditions import plain_alpha_text, with_sides
from musicsteer.report.curves import Curve, curves_of
from musicsteer.report.loading import Sweep
from musicsteer.report.measures import BY_KEY, MAIN, Measure
from musicsteer.report.pairs import agreement_of, moved_most
from musicsteer.report.statistics import Estimate


def format_tables(sweep: Sweep, others: bool = True) -> str:
    """A block for each condition: a table for the measure that moves most, and one for each other of MAIN.

    others: False for the first table alone.
    """
    keys = sweep.measure_keys()
    blocks = []
    for curve in curves_of(sweep, keys):
        first = moved_most(curve, keys)
        shown = [first, *(key for key in MAIN if others and key in keys and key != first)]
        title = with_sides(curve.label, curve.condition.term)
        blocks.append("\n\n".join([title, *(_table(curve, keys.index(key), BY_KEY[key]) for key in shown)]))
    return ("\n\n\n" if others else "\n\n").join(blocks) + "\n"


def _table(curve: Curve, index: int, measure: Measure) -> str:
    unit = f" ({measure.unit})" if measure.unit else ""
    change_unit = f" ({measure.change_unit})" if measure.change_unit else ""
    rows = [["strength", "pairs", "mean", "95 % interval", f"change{change_unit}", "95 % interval"]]
    change_digits = 1 if measure.change == "ratio" else measure.digits
    for point in curve.points:
        rows.append(
            [
                plain_alpha_text(point.alpha),
                str(int(point.mean.count[index])),
                *_cells(point.mean, index, measure.digits, ""),
                *(_cells(point.change, index, change_digits, "+") if point.alpha else ["", ""]),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [f"{measure.label}{unit}{_agreement(curve, index)}", *("  " + line.rstrip() for line in lines)]
    )


def _agreement(curve: Curve, index: int) -> str:
    """ ": 10 of 12 pairs rise from -1 to +1"."""
    found = agreement_of(curve, index)
    if found.count == 0 or len(curve.points) < 2:
        return ""
    number, verb = max((found.rising, "rise"), (found.falling, "fall"), key=lambda one: one[0])
    low, high = (plain_alpha_text(curve.points[end].alpha) for end in (0, -1))
    return f": {number} of {found.count} pairs {verb} from {low} to {high}"


def _cells(estimate: Estimate | None, index: int, digits: int, sign: str) -> list[str]:
    """Value and interval; empty where undefined."""
    if estimate is None:
        return ["", ""]

    def text(number: float) -> str:
        return "" if math.isnan(number) else f"{number:{sign}.{digits}f}"

    low, high = text(estimate.low[index]), text(estimate.high[index])
    return [text(estimate.value[index]), f"[{low}, {high}]" if low and high else ""]
