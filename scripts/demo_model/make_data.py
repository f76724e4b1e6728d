"""Renders a data set: OUT.npy [clips, samples] int16 at 16 kHz and OUT.json, what was drawn.

python make_data.py --out WORK/train --clips 12000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from music import draw_song
from synth import CLIP_SAMPLES, render


def make_data(out: Path, clips: int, seed: int) -> None:
    """Writes OUT.npy and OUT.json."""
    rng, songs = random.Random(seed), []
    out.parent.mkdir(parents=True, exist_ok=True)
    shape = (clips, CLIP_SAMPLES)
    audio = np.lib.format.open_memmap(out.with_suffix(".npy"), "w+", dtype=np.int16, shape=shape)
    for index in range(clips):
        song = draw_song(rng)
        audio[index] = np.round(render(song) * 32767)
        songs.append(song.as_dict())
    audio.flush()
    out.with_suffix(".json").write_text(json.dumps(songs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    make_data(arguments.out, arguments.clips, arguments.seed)
