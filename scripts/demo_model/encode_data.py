"""Composes, plays and encodes songs: NAME_codes.npy [clips, K, T] int16 and NAME_songs.jsonl, what was drawn.

    python encode_data.py --data WORK/data --codec WORK/codec/decoder.pt --name test --seed 999 --clips 256
    python encode_data.py --data WORK/data --codec WORK/codec/decoder.pt --name train --seed 1 --clips 20000

Audio is not kept. A clip is ready when its line is in NAME_songs.jsonl: a run that was cut off goes on there,
and a run with more --clips adds to what is there. Training may begin before it has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.multiprocessing as mp
from codec import FastEncoder, load_checkpoint
from memory import keep_freed_memory
from music import FRAMES, Song, draw_song
from synth import render

BLOCK = 40  # clips that a worker takes at a time

_ENCODERS: dict[Path, FastEncoder] = {}


def _encoder(path: Path) -> FastEncoder:
    if path not in _ENCODERS:
        torch.set_num_threads(1)
        keep_freed_memory()
        _ENCODERS[path] = FastEncoder(load_checkpoint(path))
    return _ENCODERS[path]


def encode_block(codec_path: Path, target: Path, first: int, songs: list[Song]) -> list[dict]:
    """Encodes songs into rows from `first` on; returns what was drawn and what resulted."""
    encoder, codes = _encoder(codec_path), np.load(target, mmap_mode="r+")
    for row, song in enumerate(songs, start=first):
        codes[row] = encoder.encode(torch.from_numpy(render(song))).numpy()
    codes.flush()
    return [song.as_dict() for song in songs]


def _make_room(target: Path, clips: int, codebooks: int) -> None:
    """Rows for `clips` clips, those that are there first."""
    before = np.load(target, mmap_mode="r") if target.exists() else None
    if before is not None and len(before) >= clips:
        return
    part = target.with_suffix(".part")
    rows = np.lib.format.open_memmap(part, "w+", dtype=np.int16, shape=(clips, codebooks, FRAMES))
    if before is not None:
        rows[: len(before)] = before
    rows.flush()
    os.replace(part, target)


def encode_data(folder: Path, name: str, seed: int, codec_path: Path, clips: int, workers: int) -> None:
    """Makes what is missing of the first `clips` clips of a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    target, log = folder / f"{name}_codes.npy", folder / f"{name}_songs.jsonl"
    _make_room(target, clips, len(load_checkpoint(codec_path).quantizer.layers))
    ready = log.read_text().splitlines(keepends=True) if log.exists() else []
    ready = [line for line in ready if line.endswith("\n")]
    log.write_text("".join(ready))
    rng = random.Random(seed)
    songs = [draw_song(rng) for _ in range(clips)]
    began = time.monotonic()
    with mp.get_context("fork").Pool(workers) as pool, log.open("a") as lines:
        waiting = []
        for first in range(len(ready), clips, BLOCK):
            block = songs[first : min(first + BLOCK, clips)]
            waiting.append((first, pool.apply_async(encode_block, (codec_path, target, first, block))))
        for index, (first, result) in enumerate(waiting):
            lines.write("".join(json.dumps(song) + "\n" for song in result.get()))
            lines.flush()
            if index % 20 == 0:
                print(f"{name}: {first + BLOCK} clips, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True, help="a checkpoint of train_codec.py")
    parser.add_argument("--name", required=True, help="train or test")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encode_data(
        arguments.data,
        arguments.name,
        arguments.seed,
        arguments.codec,
        arguments.clips,
        arguments.workers,
    )
