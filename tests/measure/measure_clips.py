"""Clips to measure: songs that scripts/demo_model renders, and sounds that are simple, loud, quiet or odd."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "demo_model"))

from music import SAMPLE_RATE_HZ, draw_song  # noqa: E402
from synth import render  # noqa: E402

RATES_HZ = (16000, 22050, 24000, 32000, 44100, 48000)
DURATIONS_S = (5.0, 6.5, 8.0, 10.0, 14.0, 21.0, 30.0)
FORMATS = ((".wav", "PCM_16"), (".wav", "PCM_24"), (".flac", "PCM_16"), (".wav", "FLOAT"))
SONGS = 30


@dataclass(frozen=True)
class Clip:
    """A sound and how it is stored. samples: [N] or [N, C]."""

    name: str
    samples: np.ndarray
    rate_hz: int
    suffix: str = ".wav"
    subtype: str = "PCM_16"

    def write(self, folder: Path) -> Path:
        path = folder / f"{self.name}{self.suffix}"
        soundfile.write(path, self.samples, self.rate_hz, subtype=self.subtype)
        return path


def song(seed: int, rate_hz: int, duration_s: float) -> np.ndarray:
    """[N] float64, repeated where it is too short."""
    y = render(draw_song(random.Random(seed))).astype(np.float64)
    divisor = np.gcd(rate_hz, SAMPLE_RATE_HZ)
    y = resample_poly(y, rate_hz // divisor, SAMPLE_RATE_HZ // divisor)
    return np.resize(y, round(duration_s * rate_hz))


def songs() -> Iterator[Clip]:
    """At all rates, durations and formats; every third one is stereo, with another song softly at right."""
    for index in range(SONGS):
        rate_hz = RATES_HZ[index % len(RATES_HZ)]
        duration_s = DURATIONS_S[index % len(DURATIONS_S)]
        samples = song(index, rate_hz, duration_s)
        if index % 3 == 1:
            right = 0.4 * song(100 + index, rate_hz, duration_s) + 0.3 * np.roll(samples, rate_hz // 50)
            samples = np.stack([samples, right], axis=1)
        suffix, subtype = FORMATS[index % len(FORMATS)]
        yield Clip(f"song-{index:02}", np.clip(samples, -0.99, 0.99), rate_hz, suffix, subtype)


def seconds(rate_hz: int, duration_s: float) -> np.ndarray:
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def clicks(bpm: float, rate_hz: int, duration_s: float) -> np.ndarray:
    """Short decaying tones on the beat."""
    t = seconds(rate_hz, duration_s)
    since = t % (60 / bpm)
    return 0.6 * np.exp(-since * 60) * np.sin(2 * np.pi * 1500 * since)


def chord(notes_hz: list[float], every_s: float, rate_hz: int, duration_s: float) -> np.ndarray:
    """Struck again and again, with a few partials."""
    t = seconds(rate_hz, duration_s)
    since = t % every_s
    tones = sum(np.sin(2 * np.pi * f * k * t) / k**2 for f in notes_hz for k in range(1, 6))
    return 0.1 * tones * np.exp(-3 * since) * np.minimum(1, since / 0.01)


def noise(rng: np.random.Generator, colour: float, rate_hz: int, duration_s: float) -> np.ndarray:
    """Noise with amplitude f ** -colour, RMS 0.1."""
    count = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** -colour
    spectrum[0] = 0
    y = np.fft.irfft(spectrum, count)
    return 0.1 * y / np.sqrt(np.mean(y**2))


def synthetic() -> Iterator[Clip]:
    rng = np.random.default_rng(7)
    for index, bpm in enumerate((72, 90, 105, 120, 140, 168)):
        rate_hz = RATES_HZ[index]
        yield Clip(f"clicks-{bpm}", clicks(bpm, rate_hz, 6.0 + 2 * index), rate_hz)
    for index, (low, high) in enumerate(((50, 4000), (200, 7000), (30, 15000), (9000, 100))):
        rate_hz = RATES_HZ[2 * index % 6]
        t = seconds(rate_hz, 6.0)
        phase = 2 * np.pi * (low * t + (high - low) * t**2 / 12)
        yield Clip(f"chirp-{low}-{high}", 0.4 * np.sin(phase), rate_hz, subtype="PCM_24")
    for index, colour in enumerate((0.0, 0.5, 1.0, 0.0)):
        rate_hz = (16000, 48000, 44100, 22050)[index]
        yield Clip(f"noise-{index}", noise(rng, colour, rate_hz, 5.0 + index), rate_hz)
    for index, notes_hz in enumerate(([220, 277, 330], [131, 165, 196, 247], [440, 523], [110])):
        rate_hz = RATES_HZ[index + 2]
        samples = chord(notes_hz, 0.4 + 0.13 * index, rate_hz, 7.0 + index)
        yield Clip(f"chord-{index}", samples, rate_hz, subtype="FLOAT")
    for index in range(4):
        rate_hz = RATES_HZ[index]
        gate = clicks(80 + 15 * index, rate_hz, 9.0) ** 2
        bursts = noise(rng, 0.3, rate_hz, 9.0) * (0.02 + gate / gate.max())
        samples = np.stack([bursts, np.roll(bursts, 40)], axis=1) if index % 2 else bursts
        yield Clip(f"bursts-{index}", samples, rate_hz)
    loud = 8 * song(40, 32000, 6.0)
    yield Clip("clipped", np.clip(loud, -1, 1), 32000)
    yield Clip("beyond-full-scale", loud, 32000, subtype="FLOAT")
    yield Clip("offset", song(41, 16000, 5.0) * 0.5 + 0.3, 16000)
    fade = song(42, 44100, 12.0) * np.linspace(1, 0, 12 * 44100) ** 6
    yield Clip("fading", fade, 44100, subtype="FLOAT")
    gap = song(43, 24000, 9.0)
    gap[3 * 24000 : 6 * 24000] = 0
    yield Clip("with-a-gap", gap, 24000)
    yield Clip("nearly-silent", noise(rng, 0.0, 22050, 5.0) * 1e-3, 22050, subtype="FLOAT")
    yield Clip("three-channels", np.stack([song(s, 16000, 5.0) for s in (44, 45, 46)], axis=1), 16000)


def short() -> Iterator[Clip]:
    """Shorter than a frame, or hardly longer: 1 to 2049 samples."""
    rng = np.random.default_rng(8)
    for count in (1, 2, 511, 512, 1024, 2047, 2049):
        yield Clip(f"short-{count}", 0.3 * rng.standard_normal(count), 22050, subtype="FLOAT")


def quiet() -> Iterator[Clip]:
    """Nothing at all, and a constant."""
    yield Clip("silence", np.zeros(3 * 16000), 16000)
    yield Clip("constant", np.full(3 * 16000, 0.25), 16000)
