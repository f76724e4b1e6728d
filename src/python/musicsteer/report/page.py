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
from musicsteer.report.conditions import layers_text
from musicsteer.report.curves import Curve, count_missing, curves_of
from musicsteer.report.facts import bundle_path, facts_of, title_of
from musicsteer.report.loading import Clip, Sweep
from musicsteer.report.measures import KL, MEASURES, default_measure
from musicsteer.report.output import GENERATOR
from musicsteer.report.patches import Patch, patch_data
from musicsteer.report.statistics import FEW_PAIRS, Estimate

SCRIPTS = ("data", "theme", "audio", "levels", "spectrogram", "listen", "charts", "tables", "patches", "main")


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
        "label": curve.label,
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
        "mean": {key: _estimates([point.mean for point in curve.points], i) for i, key in enumerate(keys)},
        "change": {
            key: _estimates([point.change for point in curve.points], i) for i, key in enumerate(keys)
        },
    }


def _without(parts: dict[str, str], *names: str) -> str:
    return " · ".join(text for name, text in parts.items() if name not in names)


def clip_data(
    clip: Clip, indices: Mapping[str, Mapping[Any, int]], keys: list[str], plan: Mapping[str, Any], model: str
) -> dict[str, Any]:
    """A clip as the page's script reads it; indices: the places of prompts, conditions and settings."""
    scales = {measure.key: measure.scale for measure in (*MEASURES, KL)}
    prompt, seed = clip.pair
    return {
        "id": clip.id,
        "prompt": indices["prompt"][prompt],
        "seed": str(seed),  # may be beyond what a JavaScript number holds
        "condition": -1 if clip.condition is None else indices["condition"][clip.condition],
        "settings": indices["settings"][clip.settings],
        "alpha": clip.alpha,
        "rate": clip.record.get("sample_rate_hz"),
        "measures": _numbers(np.array([clip.measure(key) * scales[key] for key in keys], dtype=np.float64)),
        "command": command_line(clip.record, model, "clip.wav", plan.get("melody")),
    }


def page_data(
    sweep: Sweep, patches: list[Patch], unreadable: Mapping[str, str], codec_type: str
) -> dict[str, Any]:
    """Everything that the page shows; unreadable: ids of clips without audio, and why."""
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
    for data, curve in zip(conditions, curves, strict=True):
        data["settings"] = indices["settings"][curve.condition.settings]
        data["others"] = bool(curve.condition.others)
    clips = [
        clip_data(clip, indices, keys, sweep.plans[clip.folder], bundle_path(sweep, clip.folder))
        for clip in sweep.clips
    ]
    for clip in clips:
        clip["audio"] = clip["id"] not in unreadable
    measures = {measure.key: measure for measure in (*MEASURES, KL)}
    concepts = [curve.condition.term.concept for curve in curves]
    return {
        "prompts": ["(no prompt)" if prompt is None else prompt for prompt in prompts],
        "measures": [
            {
                "key": key,
                "label": measures[key].label,
                "unit": measures[key].unit,
                "digits": measures[key].digits,
                "change": measures[key].change,
                "changeUnit": measures[key].change_unit,
            }
            for key in keys
        ],
        "defaultMeasure": default_measure(concepts, keys),
        "hasKl": any(
            math.isfinite(clip.measure(KL.key)) for clip in sweep.clips if clip.condition is not None
        ),
        "conditions": conditions,
        "clips": clips,
        "patches": [patch_data(patch) for patch in patches],
        "codecType": codec_type,
    }


def remarks_of(sweep: Sweep, patches: list[Patch], unreadable: Mapping[str, str]) -> list[str]:
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
            f"{missing} clips of the plan are missing{which}: "
            "not every prompt and seed is there at every strength."
        )
    silent = [clip for clip in sweep.clips if clip.id in unreadable]
    if silent and len(silent) == len(sweep.clips):
        remarks.append("No clip has audio here, so there is nothing to listen to; the numbers are complete.")
    elif silent:
        first = silent[0]
        remarks.append(
            f"{len(silent)} clips have no audio that can be read, "
            f"such as {first.record.get('file') or first.id}: "
            f"{unreadable[first.id]}. Their numbers are shown."
        )
    if not any(math.isfinite(clip.measure(KL.key)) for clip in sweep.clips if clip.condition is not None):
        remarks.append("The runs hold no KL divergence, so the plots of it are left out.")
    pairs = {clip.pair for clip in sweep.clips}
    if len(pairs) < FEW_PAIRS:
        remarks.append(
            f"There are only {len(pairs)} pairs of prompt and seed. "
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
    unreadable: Mapping[str, str],
    codec_type: str,
    plotly: str,
    inline_clips: list[str] | None = None,
) -> str:
    """The whole page.

    plotly: the name of the plotting script beside the page, or for a single file the script itself.
    inline_clips: for a single file, an element for each clip.
    """
    templates = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("index.html.j2").render(
        generator=GENERATOR,
        title=title_of(sweep),
        facts=facts_of(sweep, patches),
        remarks=remarks_of(sweep, patches, unreadable),
        has_clips=bool(sweep.clips),
        has_patches=bool(patches),
        style=(templates / "style.css").read_text(encoding="utf-8"),
        scripts=[(templates / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS],
        data=script_json(page_data(sweep, patches, unreadable, codec_type)),
        plotly=plotly,
        inline_clips=inline_clips,
    )
