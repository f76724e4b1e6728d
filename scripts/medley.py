"""Takes of rising strength one after the other, of the pair that follows a direction most steadily."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from musicsteer.report.curves import Pair, curves_of
from musicsteer.report.loading import Clip, Sweep
from musicsteer.report.measures import BY_KEY, Measure
from musicsteer.report.page import first_pair
from musicsteer.report.pairs import moved_most

PAUSE_S = 0.5
FADE_S = 0.02
LOUDEST_LUFS = -16.0
CEILING_DBTP = -1.0


class MedleyError(Exception):
    """There is nothing to join; the message is one sentence."""


@dataclass(frozen=True)
class Medley:
    """The clips of one pair by rising strength; measure: what the pair follows the strength by."""

    negative: str
    positive: str
    pair: Pair
    pairs: int
    measure: Measure
    clips: list[Clip]


def medleys_of(sweep: Sweep) -> dict[str, Medley]:
    """By concept, each of which is steered in one way.

    Raises:
        MedleyError: nothing is steered, or clips have no audio.
    """
    keys = sweep.measure_keys()
    medleys = {}
    for curve in curves_of(sweep, keys):
        pair = first_pair(curve, keys, set(curve.pairs))
        clips = [c for c in sweep.clips if c.pair == pair and c.condition in (None, curve.condition)]
        term = curve.condition.term
        medleys[term.concept] = Medley(
            term.negative,
            term.positive,
            pair,
            len(curve.pairs),
            BY_KEY[moved_most(curve, keys)],
            sorted(clips, key=lambda clip: clip.alpha),
        )
    if not medleys:
        raise MedleyError("no clip is steered: there is nothing to compare")
    return medleys


def joined(clips: list[Clip], longest_s: float = np.inf) -> tuple[NDArray[np.float32], int]:
    """Clips at one loudness, each faded in and out and cut to `longest_s`, with pauses; and the sample rate.

    The loudness is -16 LUFS, or what leaves each of them 1 dB by its true peak.
    """
    levels = [(clip.measure("loudness_lufs"), clip.measure("true_peak_dbtp")) for clip in clips]
    reachable = [lufs + CEILING_DBTP - peak for lufs, peak in levels if np.isfinite(lufs)]
    target = min([LOUDEST_LUFS, *reachable])
    parts: list[NDArray[np.float32]] = []
    rate = 0
    for clip, (lufs, _) in zip(clips, levels, strict=True):
        if clip.audio_path is None:
            raise MedleyError(f"clip {clip.id} of {clip.folder} has no audio: sweep without --no-audio")
        samples, rate = soundfile.read(clip.audio_path, dtype="float32", always_2d=True)
        samples = samples[: int(min(longest_s * rate, len(samples)))]
        gain = 10 ** ((target - lufs) / 20) if np.isfinite(lufs) else 1.0
        parts += [faded(samples * np.float32(gain), int(FADE_S * rate))]
        parts += [np.zeros((int(PAUSE_S * rate), samples.shape[1]), dtype=np.float32)]
    return np.concatenate(parts[:-1]), rate


def faded(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """With linear ramps of so many frames at both ends."""
    ramp = np.minimum(1.0, np.arange(len(samples)) / frames)
    return samples * np.minimum(ramp, ramp[::-1])[:, None].astype(np.float32)


def write_wav(clips: list[Clip], out: Path) -> None:
    """`joined` as a WAV of 16 bits."""
    samples, rate = joined(clips)
    soundfile.write(out, samples, rate, subtype="PCM_16")
