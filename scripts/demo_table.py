"""Measures a sweep's clips with librosa and sets the means out as a table.

python scripts/demo_table.py runs/tempo
python scripts/demo_table.py out/demo/sweep --start-bpm 106 --std-octaves 0.5
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile

from musicsteer.report.conditions import Condition, labels_of
from musicsteer.report.curves import conditions_of
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Clip, read_sweeps

COLUMNS = (
    ("tempo_bpm", "tempo (BPM)", 1),
    ("centroid_hz", "centroid (Hz)", 0),
    ("onsets", "onsets a second", 2),
)
PAUSE_S = 0.5

# Clips by rising alpha.
Curve = dict[float, list[Clip]]


class TableError(Exception):
    """There is nothing to measure; the message is one sentence."""


@dataclass(frozen=True)
class TempoPrior:
    """What librosa expects of tempi before it listens: a normal distribution of their logarithm.

    The defaults are librosa's own. They expect anything between 60 and 240 BPM, and of clips with few notes
    a share is then read at half or double the tempo; music whose tempi are known deserves a narrower prior.
    """

    start_bpm: float = 120.0
    std_octaves: float = 1.0


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """samples [N] float32, and the sample rate in Hz."""
    samples, sample_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), sample_rate_hz


def onset_hop(rate_hz: int) -> int:
    """Samples between frames of the onset envelope: the power of two nearest to 16 ms.

    librosa's default of 512 is too coarse at 16 kHz: its peak picker compares frames within 30 ms, less than
    one frame there, and counts the two frames of an onset as two onsets.
    """
    return 2 ** round(math.log2(0.016 * rate_hz))


def measure(path: Path, prior: TempoPrior) -> dict[str, float]:
    """One clip: tempo in BPM, mean spectral centroid in Hz, onsets a second."""
    samples, rate = read_mono(path)
    hop = onset_hop(rate)
    envelope = librosa.onset.onset_strength(y=samples, sr=rate, hop_length=hop)
    onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=rate, hop_length=hop)
    tempo = librosa.feature.tempo(
        onset_envelope=envelope,
        sr=rate,
        hop_length=hop,
        start_bpm=prior.start_bpm,
        std_bpm=prior.std_octaves,  # librosa's name says BPM, and means octaves
    )
    return {
        "tempo_bpm": float(tempo[0]),
        "centroid_hz": float(librosa.feature.spectral_centroid(y=samples, sr=rate).mean()),
        "onsets": len(onsets) * rate / max(len(samples), 1),
    }


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


def format_table(curves: dict[str, Curve], prior: TempoPrior) -> str:
    """One row a strength: steering, alpha, and the means over its clips; each clip is measured once."""
    rows = [["steering", "alpha", "clips", *(title for _, title, _ in COLUMNS)]]
    measured: dict[str, dict[str, float]] = {}
    for name, curve in curves.items():
        for alpha, clips in curve.items():
            for clip in clips:
                if clip.id not in measured:
                    measured[clip.id] = measure(audio_of(clip), prior)
            means = [np.mean([measured[clip.id][key] for clip in clips]) for key, _, _ in COLUMNS]
            cells = [f"{mean:.{digits}f}" for mean, (_, _, digits) in zip(means, COLUMNS, strict=True)]
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
    lines += ["", f"Means over clips. Tempo: librosa's, expecting {prior_text(prior)}."]
    return "\n".join(lines[1:]) + "\n"


def prior_text(prior: TempoPrior) -> str:
    """ "106 BPM, give or take 0.5 octaves"."""
    octaves = "an octave" if prior.std_octaves == 1 else f"{prior.std_octaves:g} octaves"
    return f"{prior.start_bpm:g} BPM, give or take {octaves}"


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
        description="Measure a sweep's clips with librosa: tempo, spectral centroid and onsets, "
        "means for each way of steering and strength."
    )
    parser.add_argument("sweep", type=Path, metavar="RUNS", help="folder that `musicsteer sweep` wrote")
    parser.add_argument(
        "--start-bpm", type=float, default=TempoPrior.start_bpm, help="tempo that librosa expects [120]"
    )
    parser.add_argument(
        "--std-octaves", type=float, default=TempoPrior.std_octaves, help="and how far from it [1]"
    )
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    try:
        curves = read_curves(options.sweep)
        print(format_table(curves, TempoPrior(options.start_bpm, options.std_octaves)), end="")
    except (OSError, ValueError, TableError, soundfile.SoundFileError) as error:
        print(f"error: these clips can't be measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
