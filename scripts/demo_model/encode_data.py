"""Encodes rendered clips with the trained codec: WORK/data/train.npy -> train_codes.npy [clips, K, T] int16.

    python encode_data.py --data WORK/data --codec WORK/codec/decoder.pt --clips 12000

Both workers take blocks of clips; finished blocks are kept in train_codes.done, so a run that was cut off
goes on.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.multiprocessing as mp
from codec import encode_clips, load_checkpoint
from lm_data import ENCODING_BLOCK as BLOCK
from music import FRAMES


def encode_block(codec_path: Path, source: Path, target: Path, first: int) -> int:
    """Encodes clips first ... first + BLOCK - 1 in place; returns `first`."""
    codec = _codec(codec_path)
    audio, codes = np.load(source, mmap_mode="r"), np.load(target, mmap_mode="r+")
    for row in range(first, min(first + BLOCK, len(codes))):  # one at a time: batches spill out of the caches
        clip = torch.from_numpy(audio[row : row + 1].astype(np.float32) / 32768)
        codes[row] = encode_clips(codec, clip)[0].numpy().astype(np.int16)
    codes.flush()
    return first


_CODECS: dict[Path, object] = {}


def _codec(path: Path):
    if path not in _CODECS:
        torch.set_num_threads(1)
        _CODECS[path] = load_checkpoint(path)
    return _CODECS[path]


def encode_data(source: Path, codec_path: Path, clips: int, workers: int) -> None:
    """Encodes the first `clips` clips of `source`."""
    target = source.with_name(source.stem + "_codes.npy")
    done_path = source.with_name(source.stem + "_codes.done")
    codebooks = len(load_checkpoint(codec_path).quantizer.layers)
    clips = min(clips, len(np.load(source, mmap_mode="r")))
    done: set[int] = set()
    if target.exists() and done_path.exists() and np.load(target, mmap_mode="r").shape[0] == clips:
        done = {int(line) for line in done_path.read_text().split()}
    else:
        np.lib.format.open_memmap(target, "w+", dtype=np.int16, shape=(clips, codebooks, FRAMES)).flush()
        done_path.write_text("")
    began, firsts = time.monotonic(), [f for f in range(0, clips, BLOCK) if f not in done]
    with mp.get_context("fork").Pool(workers) as pool:
        waiting = [pool.apply_async(encode_block, (codec_path, source, target, f)) for f in firsts]
        for index, result in enumerate(waiting):
            first = result.get()
            with done_path.open("a") as log:
                log.write(f"{first}\n")
            if index % 20 == 0:
                print(f"{source.stem}: {first + BLOCK} clips, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True, help="a checkpoint of train_codec.py")
    parser.add_argument("--clips", type=int, default=12_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encode_data(arguments.data / "test.npy", arguments.codec, 256, arguments.workers)
    encode_data(arguments.data / "train.npy", arguments.codec, arguments.clips, arguments.workers)
