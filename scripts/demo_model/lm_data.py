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

ATTRIBUTES = ("tempo", "brightness", "energy", "density", "mood", "drums", "intro", "ending")
SHORTEST, LONGEST = 4, 32
HALF = FRAMES // 2
# Shares of the batches: short beginnings, first halves; the rest are whole clips.
BEGINNINGS, HALVES = 0.4, 0.3
REFRESH_DRAWS = 500


def read_songs(path: Path) -> list[Song]:
    """What encode_data.py drew, of the clips that are encoded so far."""
    lines = path.read_text().splitlines(keepends=True)
    return [Song(**json.loads(line)) for line in lines if line.endswith("\n")]


def attributes_of(song: Song) -> list[float]:
    """ATTRIBUTES as numbers in [-1, 1]."""
    tempo = (song.tempo + song.tempo_end) / 2
    flags = (song.mood == "major", song.drums, song.intro, song.ending_bar > 0)
    return [tempo, song.brightness, song.energy, song.density, *(1.0 if flag else -1.0 for flag in flags)]


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
        self._codes_path, self._songs_path = folder / f"{name}_codes.npy", folder / f"{name}_songs.jsonl"
        self._draws = 0
        self.tokenizer = tokenizer
        self.captioner = Captioner()
        self.refresh()

    def refresh(self) -> None:
        """Takes in what has been encoded since: training may begin before encoding has ended."""
        self.songs = read_songs(self._songs_path)
        self.codes = np.load(self._codes_path, mmap_mode="r")

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
        """Beginnings, halves or wholes of some clips; about `frames_in_batch` frames.

        What a clip sounds like shows in its first frames, and after them the caption has little to add. Many
        short beginnings are what ties captions to music.
        """
        self._draws += 1
        if self._draws % REFRESH_DRAWS == 0:
            self.refresh()
        rng = random.Random(seed[0] * 1000 + seed[1])
        kind = rng.random()
        if kind < BEGINNINGS:
            frames = rng.randint(SHORTEST, LONGEST)
        else:
            frames = HALF if kind < BEGINNINGS + HALVES else FRAMES
        count = max(1, frames_in_batch // (frames + self.codes.shape[1] - 1))
        return self.batch([rng.randrange(len(self.songs)) for _ in range(count)], frames, rng)
