"""Measures folders of clips with librosa and sets the means out as a table.

    python scripts/demo_table.py tempo=out/clips-at-minus-1,out/clips-at-plus-1

Each folder was written by `musicsteer generate` at one alpha; its clips.jsonl says at which.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile

COLUMNS = (
    ("tempo_bpm", "tempo (BPM)", 1),
    ("centroid_hz", "centroid (Hz)", 0),
    ("onsets", "onsets a second", 2),
)
PAUSE_S = 0.5


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


def measure(path: Path) -> dict[str, float]:
    """One clip: tempo in BPM, mean spectral centroid in Hz, onsets a second."""
    samples, rate = read_mono(path)
    hop = onset_hop(rate)
    envelope = librosa.onset.onset_strength(y=samples, sr=rate, hop_length=hop)
    onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=rate, hop_length=hop)
    return {
        "tempo_bpm": float(librosa.feature.tempo(onset_envelope=envelope, sr=rate, hop_length=hop)[0]),
        "centroid_hz": float(librosa.feature.spectral_centroid(y=samples, sr=rate).mean()),
        "onsets": len(onsets) * rate / max(len(samples), 1),
    }


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder's clips, in the order they were asked for."""
    lines = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda record: record["file"])


def alpha_of(record: dict[str, Any]) -> float:
    """The strength of a clip's only vector; 0 for an unsteered clip."""
    return record["steering"][0]["alpha"] if record["steering"] else 0.0


def format_table(folders_of: dict[str, list[Path]]) -> str:
    """One row a folder: concept, alpha, and the means over its clips. A shared folder is measured once."""
    rows = [["concept", "alpha", "clips", *(title for _, title, _ in COLUMNS)]]
    means: dict[Path, list[str]] = {}
    for concept, folders in folders_of.items():
        for folder in folders:
            records = read_records(folder)
            if folder not in means:
                clips = [measure(folder / record["file"]) for record in records]
                means[folder] = [
                    f"{np.mean([clip[key] for clip in clips]):.{digits}f}" for key, _, digits in COLUMNS
                ]
            alpha = alpha_of(records[0])
            rows.append([concept, f"{alpha:+g}" if alpha else "0", str(len(records)), *means[folder]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for index, row in enumerate(rows):
        if index == 0 or row[0] != rows[index - 1][0]:
            lines.append("")
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells))
    return "\n".join(lines[1:]) + "\n"


def write_medley(folders: list[Path], out: Path) -> None:
    """The first clip of each folder, one after the other with pauses, as one WAV."""
    parts: list[np.ndarray] = []
    for folder in folders:
        samples, rate = soundfile.read(
            folder / read_records(folder)[0]["file"], dtype="float32", always_2d=True
        )
        parts += [samples, np.zeros((int(PAUSE_S * rate), samples.shape[1]), dtype=np.float32)]
    soundfile.write(out, np.concatenate(parts[:-1]), rate, subtype="PCM_16")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure folders of clips with librosa.")
    parser.add_argument(
        "concepts", nargs="+", metavar="CONCEPT=FOLDER,FOLDER", help="folders, a row of the table each"
    )
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    try:
        pairs = [text.split("=", 1) for text in options.concepts]
        print(format_table({pair[0]: [Path(name) for name in pair[-1].split(",")] for pair in pairs}), end="")
    except (OSError, ValueError, KeyError, IndexError, soundfile.SoundFileError) as error:
        print(f"error: these folders can't be measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
