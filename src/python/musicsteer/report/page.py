"""Puts the page together: sweep and patches as the page's data, and the templates around it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from musicsteer.report.command_line import command_line
from musicsteer.report.conditions import layers_text, with_sides
from musicsteer.report.curves import Curve, Pair, count_missing, curves_of
from musicsteer.report.facts import bundle_path, facts_of, sentence_of, title_of
from musicsteer.report.loading import Clip, Sweep
from musicsteer.report.measures import BY_KEY, KL, MAIN
from musicsteer.report.output import GENERATOR
from musicsteer.report.pairs import agreement_of, by_steadiness, moved_most
from musicsteer.report.patches import Patch, patch_data
from musicsteer.report.statistics import FEW_PAIRS, Estimate
from musicsteer.wording import counted, is_or_are

SCRIPTS = (
    "data", "save", "theme", "view", "clips", "audio", "levels", "spectrogram", "listen", "curve", "charts",
    "tables", "patches", "main",
)  # fmt: skip

# Ids of clips that cannot be played, and why.
Unheard = dict[str, str]
LEFT_OUT = "left out, so that the page stays small"


def _numbers(values: NDArray[Any]) -> list[float | None]:
    """Six significant digits, and null for what is undefined."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def _estimates(estimates: list[Estimate | None], index: int) -> dict[str, list[Any]]:
    """One measure of several points as lists: value, low, high, n."""

    def column(name: str) -> list[float | None]:
        picked = [math.nan if estimate is None else getattr(estimate, name)[index] for estimate in estimates]
        return _numbers(np.array(picked, dtype=np.float64))

    return {"value": column("value"), "low": column("low"), "high": column("high"), "n": column("count")}


def curve_data(curve: Curve, keys: list[str]) -> dict[str, Any]:
    """A curve as the page's script reads it."""
    condition, term = curve.condition, curve.condition.term
    return {
        "name": curve.label,
        "label": with_sides(curve.label, term),
        "detail": " · ".join(condition.parts().values()),
        "concept": term.concept,
        "negative": term.negative,
        "positive": term.positive,
        "strategy": term.strategy,
        "layers": layers_text(term.layers),
        "source": term.source_text(),
        # Conditions that agree in all but layers, or all but strategy, make the rows of one heatmap.
        "exceptLayers": _without(condition.parts(), "layers", "source"),
        "exceptStrategy": _without(condition.parts(), "strategy", "source"),
        "alphas": [point.alpha for point in curve.points],
        "opens": moved_most(curve, keys),
        "agreement": {key: vars(agreement_of(curve, index)) for index, key in enumerate(keys)},
        "mean": {key: _estimates([point.mean for point in curve.points], i) for i, key in enumerate(keys)},
        "change": {
            key: _estimates([point.change for point in curve.points], i) for i, key in enumerate(keys)
        },
    }


def first_pair(curve: Curve, keys: list[str], heard: set[Pair]) -> Pair | None:
    """The pair that a curve's clips are first played of; heard: the pairs that can be."""
    order = by_steadiness(curve, keys.index(moved_most(curve, keys)))
    return next((pair for pair in order if pair in heard), None)


def pairs_to_hear(sweep: Sweep) -> list[Pair]:
    """All pairs: first those that each curve is first played of, then seed by seed."""
    keys = sweep.measure_keys()
    pairs = list(dict.fromkeys(clip.pair for clip in sweep.clips))
    firsts = [first_pair(curve, keys, set(pairs)) for curve in curves_of(sweep, keys)]
    rest = sorted(pairs, key=lambda pair: pair[1])
    return list(dict.fromkeys(pair for pair in [*firsts, *rest] if pair is not None))


def _without(parts: dict[str, str], *names: str) -> str:
    return " · ".join(text for name, text in parts.items() if name not in names)


def clip_data(
    clip: Clip, indices: Mapping[str, Mapping[Any, int]], keys: list[str], plan: Mapping[str, Any], model: str
) -> dict[str, Any]:
    """A clip as the page's script reads it; indices: the places of prompts, conditions and settings."""
    prompt, seed = clip.pair
    return {
        "id": clip.id,
        "prompt": indices["prompt"][prompt],
        "seed": str(seed),  # may be beyond what a JavaScript number holds
        "condition": -1 if clip.condition is None else indices["condition"][clip.condition],
        "settings": indices["settings"][clip.settings],
        "alpha": clip.alpha,
        "rate": clip.record.get("sample_rate_hz"),
        "measures": _numbers(
            np.array([clip.measure(key) * BY_KEY[key].scale for key in keys], dtype=np.float64)
        ),
        "command": command_line(clip.record, model, "clip.wav", plan.get("melody")),
    }


def page_data(sweep: Sweep, patches: list[Patch], unheard: Unheard) -> dict[str, Any]:
    """Everything that the page shows; unheard: ids of clips without audio, and why."""
    keys = sweep.measure_keys()
    curves = curves_of(sweep, keys)
    prompts = list(dict.fromkeys(clip.record["prompt"] for clip in sweep.clips))
    settings = list(dict.fromkeys(clip.settings for clip in sweep.clips))
    indices: dict[str, dict[Any, int]] = {
        "prompt": {prompt: index for index, prompt in enumerate(prompts)},
        "condition": {curve.condition: index for index, curve in enumerate(curves)},
        "settings": {entry: index for index, entry in enumerate(settings)},
    }
    conditions = [curve_data(curve, keys) for curve in curves]
    heard = {clip.pair for clip in sweep.clips if clip.id not in unheard}
    for data, curve in zip(conditions, curves, strict=True):
        if first := first_pair(curve, keys, heard):
            data["first"] = {"prompt": indices["prompt"][first[0]], "seed": str(first[1])}
        data["settings"] = indices["settings"][curve.condition.settings]
        data["others"] = bool(curve.condition.others)
    clips = [
        clip_data(clip, indices, keys, sweep.plans[clip.folder], bundle_path(sweep, clip.folder))
        for clip in sweep.clips
    ]
    for clip in clips:
        clip["audio"] = clip["id"] not in unheard
    return {
        "prompts": ["(no prompt)" if prompt is None else prompt for prompt in prompts],
        "measures": [
            {
                "key": key,
                "name": BY_KEY[key].name,
                "label": BY_KEY[key].label,
                "unit": BY_KEY[key].unit,
                "digits": BY_KEY[key].digits,
                "change": BY_KEY[key].change,
                "changeUnit": BY_KEY[key].change_unit,
                "main": key in MAIN,
            }
            for key in keys
        ],
        "hasKl": any(
            math.isfinite(clip.measure(KL.key)) for clip in sweep.clips if clip.condition is not None
        ),
        "conditions": conditions,
        "clips": clips,
        "patches": [patch_data(patch) for patch in patches],
    }


def remarks_of(sweep: Sweep, patches: list[Patch], unheard: Unheard) -> list[str]:
    """What is missing or was skipped, a sentence each."""
    of_patches = [remark for patch in patches for remark in patch.remarks()]
    if not sweep.clips:
        return of_patches
    remarks = list(sweep.remarks)
    if missing := count_missing(sweep):
        shards = [plan["shard"] for plan in sweep.plans.values() if plan.get("shard")]
        parts = ", ".join(f"{shard['index']} of {shard['count']}" for shard in shards)
        which = f" (these are shards: {parts})" if parts else ""
        remarks.append(
            f"{counted(missing, 'clip')} of the plan {is_or_are(missing)} missing{which}: "
            "not every prompt and seed is there at every strength."
        )
    left_out = {clip.pair for clip in sweep.clips if unheard.get(clip.id) == LEFT_OUT}
    pairs = {clip.pair for clip in sweep.clips}
    if left_out:
        there = f"{len(pairs) - len(left_out)} of {len(pairs)}"
        remarks.append(
            f"To stay small, this page has the clips of {there} pairs of prompt and seed: of each direction "
            "the pair played first, then as many others as fit, seed by seed. The numbers are of all pairs."
        )
    silent = [clip for clip in sweep.clips if unheard.get(clip.id, LEFT_OUT) != LEFT_OUT]
    if silent and len(silent) == len(sweep.clips):
        remarks.append("No clip has audio here, so there is nothing to listen to; the numbers are complete.")
    elif silent:
        first = silent[0]
        remarks.append(
            f"The audio of {counted(len(silent), 'clip')} cannot be read, "
            f"such as {first.record.get('file') or first.id}: "
            f"{unheard[first.id]}. The numbers include them."
        )
    if not any(math.isfinite(clip.measure(KL.key)) for clip in sweep.clips if clip.condition is not None):
        remarks.append("These sweeps were made without --kl, so there are no cost plots.")
    if len(pairs) < FEW_PAIRS:
        remarks.append(
            f"There {is_or_are(len(pairs))} only {counted(len(pairs), 'pair')} of prompt and seed. "
            f"With fewer than {FEW_PAIRS}, a few odd clips decide where an interval lies."
        )
    return remarks + of_patches


def script_json(data: Any) -> str:
    """JSON that may stand inside a <script> element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def render(
    sweep: Sweep,
    patches: list[Patch],
    unheard: Unheard,
    plotly: str,
    inline_clips: list[str] | None = None,
) -> str:
    """The whole page.

    plotly: the name of the plotting script beside the page, or for a single file the script itself; empty for
    a page without large plots.
    inline_clips: for a single file, an element for each clip.
    """
    templates = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("index.html.j2").render(
        generator=GENERATOR,
        title=title_of(sweep),
        sentence=sentence_of(sweep),
        facts=facts_of(sweep, patches),
        remarks=remarks_of(sweep, patches, unheard),
        has_clips=bool(sweep.clips),
        has_patches=bool(patches),
        style=(templates / "style.css").read_text(encoding="utf-8"),
        scripts=[(templates / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS],
        data=script_json(page_data(sweep, patches, unheard)),
        plotly=plotly,
        inline_clips=inline_clips,
    )
