"""Chroma as transformers' feature extractor for melody checkpoints computes it, and a tune to try it on.

The extractor itself needs torchaudio, which has no release for the torch that this project uses.
"""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.audio_utils import chroma_filter_bank

NUM_CHROMA = 12
# Semitones above A, one each 0.4 s, and some overtones.
TUNE = (0, 4, 7, 12, 9, 5, 2, -2, 3, 8)
NOTE_S = 0.4
OVERTONES = 4


def extract_chroma(samples: Tensor, framing: dict[str, Any]) -> Tensor:
    """Mono samples [N] at the rate of `framing` (the manifest's `chroma`) -> one-hot chroma [F, 12].

    As MusicgenMelodyFeatureExtractor: samples after `longest_s` are cut, fewer than a frame are padded.
    """
    rate, size = framing["sample_rate_hz"], framing["fft_size"]
    samples = samples[: framing["longest_s"] * rate]
    if (missing := size - len(samples)) > 0:
        samples = torch.nn.functional.pad(samples, (missing // 2, missing - missing // 2))
    window = torch.hann_window(size)
    spectrum = torch.stft(
        samples, size, framing["hop_length"], window=window, pad_mode="reflect", return_complex=True
    )
    bank = chroma_filter_bank(sampling_rate=rate, num_frequency_bins=size, tuning=0, num_chroma=NUM_CHROMA)
    strength = torch.from_numpy(bank).float() @ spectrum.abs().square()  # [12, F]
    return torch.eye(NUM_CHROMA)[strength.argmax(0)]


def write_tune(path: Path, rate: int) -> Tensor:
    """Write a short tune as 16-bit WAV; returns the samples [N] that a reader finds there."""
    time = torch.arange(int(NOTE_S * rate)) / rate
    notes = []
    for semitones in TUNE:
        phase = 2 * math.pi * 440 * 2 ** (semitones / 12) * time
        notes.append(sum(torch.sin(k * phase) / k for k in range(1, OVERTONES + 1)))
    steps = (0.2 * torch.cat(notes) * 32767).round().to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(steps.numpy().tobytes())
    return steps.float() / 32768
