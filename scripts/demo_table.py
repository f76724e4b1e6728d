"""Prints a sweep's measures as a table of means, with a row for each way of steering and strength.

python scripts/demo_table.py runs/tempo
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import soundfile

from musicsteer.report.conditions import Condition, labels_of
from musicsteer.report.curves import conditions_of
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Clip, read_sweeps

COLUMNS = (
    ("tempo_bpm", "tempo (BPM)", 1),
    ("spectral_centroid_hz", "centroid (Hz)", 0),
    ("onset_rate_hz", "onsets a second", 2),
)
PAUSE_S = 0.5

# Clips by rising alpha.
Curve = dict[float, list[Clip]]


class TableError(Exception):
    """There is nothing to measure; the message is one sentence."""


def names_of(conditions: list[Condition]) -> list[str]:
    """The concepts, where each has one condition; else what tells the conditions apart as well."""
    concepts = [condition.term.concept for condition in conditions]
    return concepts if len(set(concepts)) == len(concepts) else labels_of(conditions)


def read_curves(folder: Path) -> dict[str, Curve]:
    """The clips of each way of steering, by prompt and seed; unsteered ones are alpha 0 of all.

    Raises:
        TableError: the folder is no sweep, or none of its clips is steered.
    """
    try:
        sweep = read_sweeps([folder])
    except ReportError as error:
        raise TableError(str(error)) from error
    prompts = {
        prompt["text"]: place
        for place, prompt in enumerate(next(iter(sweep.plans.values())).get("prompts", []))
    }
    clips = sorted(sweep.clips, key=lambda clip: (prompts.get(clip.pair[0], 0), clip.pair[1]))
    conditions = conditions_of(sweep)
    if not conditions:
        raise TableError(f"no clip of {folder} is steered: there is nothing to compare")
    curves: dict[str, Curve] = {}
    for name, condition in zip(names_of(conditions), conditions, strict=True):
        curve: Curve = {}
        for clip in clips:
            if clip.condition in (None, condition):
                curve.setdefault(clip.alpha, []).append(clip)
        curves[name] = dict(sorted(curve.items()))
    return curves


def alpha_text(alpha: float) -> str:
    """ "+0.5", "-1", "0"."""
    return f"{alpha:+g}" if alpha else "0"


def audio_of(clip: Clip) -> Path:
    """Where the clip's WAV is.

    Raises:
        TableError: the sweep kept none.
    """
    if clip.audio_path is None:
        raise TableError(f"clip {clip.id} of {clip.folder} has no audio: sweep without --no-audio")
    return clip.audio_path


def format_table(curves: dict[str, Curve]) -> str:
    """One row a strength: steering, alpha, and the means over the clips that have the measure."""
    rows = [["steering", "alpha", "clips", *(title for _, title, _ in COLUMNS)]]
    for name, curve in curves.items():
        for alpha, clips in curve.items():
            cells = []
            for key, _, digits in COLUMNS:
                values = [value for clip in clips if not math.isnan(value := clip.measure(key))]
                cells.append(f"{np.mean(values):.{digits}f}" if values else "-")
            rows.append([name, alpha_text(alpha), str(len(clips)), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for index, row in enumerate(rows):
        if index == 0 or row[0] != rows[index - 1][0]:
            lines.append("")
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells))
    lines += ["", "Means over clips."]
    return "\n".join(lines[1:]) + "\n"


def write_medley(curve: Curve, out: Path) -> None:
    """The first clip of each strength, one after the other with pauses, as one WAV."""
    parts: list[np.ndarray] = []
    for clips in curve.values():
        samples, rate = soundfile.read(audio_of(clips[0]), dtype="float32", always_2d=True)
        parts += [samples, np.zeros((int(PAUSE_S * rate), samples.shape[1]), dtype=np.float32)]
    soundfile.write(out, np.concatenate(parts[:-1]), rate, subtype="PCM_16")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Print what a sweep measured: means for each way of steering and strength."
    )
    parser.add_argument("sweep", type=Path, metavar="RUNS", help="folder that `musicsteer sweep` wrote")
    options = parser.parse_args(arguments)
    try:
        print(format_table(read_curves(options.sweep)), end="")
    except (OSError, TableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
