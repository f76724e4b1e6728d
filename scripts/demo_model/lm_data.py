"""Batches for the language model: whole clips and short beginnings, with captions drawn anew each time."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from captions import Captioner
from lm import tokenize
from music import FRAMES, Song
from torch import Tensor
from transformers import PreTrainedTokenizerBase

ATTRIBUTES = ("tempo", "brightness", "energy", "density", "mood", "drums")
SHORTEST, LONGEST = 4, 32
ENCODING_BLOCK = 40  # clips to a line of encode_data.py's list of what is done


def load_songs(path: Path) -> list[Song]:
    """What make_data.py drew."""
    return [Song(**drawn) for drawn in json.loads(path.read_text())]


def attributes_of(song: Song) -> list[float]:
    """ATTRIBUTES as numbers in [-1, 1]."""
    tempo = (song.tempo + song.tempo_end) / 2
    mood, drums = (1.0 if song.mood == "major" else -1.0), (1.0 if song.drums else -1.0)
    return [tempo, song.brightness, song.energy, song.density, mood, drums]


@dataclass
class Batch:
    """codes [B, K, T] int64; ids, mask [B, S]; attributes [B, A] float32."""

    codes: Tensor
    ids: Tensor
    mask: Tensor
    attributes: Tensor


class Clips:
    """Encoded clips and their songs."""

    def __init__(self, folder: Path, name: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self.codes = np.load(folder / f"{name}_codes.npy", mmap_mode="r")
        self._done = folder / f"{name}_codes.done"
        self._draws = 0
        self.ready = self.count_ready()
        self.songs = load_songs(folder / f"{name}.json")[: len(self.codes)]
        self.tokenizer = tokenizer
        self.captioner = Captioner()

    def count_ready(self) -> int:
        """How many clips are encoded so far, in order: training may begin before encoding has ended."""
        return min(len(self.codes), ENCODING_BLOCK * len(self._done.read_text().split()))

    def batch(self, rows: list[int], frames: int, rng: random.Random) -> Batch:
        """The first `frames` frames of some clips, each with a new caption."""
        captions = [self.captioner.caption(self.songs[row], rng) for row in rows]
        return self.captioned(rows, frames, captions)

    def captioned(self, rows: list[int], frames: int, captions: list[str]) -> Batch:
        """The first `frames` frames of some clips, with given captions."""
        codes = torch.from_numpy(np.asarray(self.codes[rows, :, :frames], dtype=np.int64))
        ids, mask = tokenize(self.tokenizer, captions)
        return Batch(codes, ids, mask, torch.tensor([attributes_of(self.songs[row]) for row in rows]))

    def draw(self, seed: tuple[int, int], frames_in_batch: int) -> Batch:
        """Whole clips where the sum of `seed` is even, else beginnings; about `frames_in_batch` frames.

        What a clip sounds like shows in its first frames, and after them the caption has little to add. Many
        short beginnings are what ties captions to music.
        """
        self._draws += 1
        if self._draws % 50 == 0:
            self.ready = self.count_ready()
        rng = random.Random(seed[0] * 1000 + seed[1])
        frames = FRAMES if sum(seed) % 2 == 0 else rng.randint(SHORTEST, LONGEST)
        count = max(1, frames_in_batch // (frames + self.codes.shape[1] - 1))
        return self.batch([rng.randrange(self.ready) for _ in range(count)], frames, rng)
