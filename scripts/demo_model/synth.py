"""Plays a composed song: wavetables shaped by envelopes that run with the beat.

Two things are done for the codec and the language model, not for the ear. A tone is a table of one frame
(every pitch is a whole number of cycles in it), so a held note repeats exactly. And every envelope is a
function of the *phase within the note*, not of seconds: bass and lead fall, the pad swells, and how fast
they do so tells the tempo from any two neighbouring frames, so the next onset can be foreseen without
counting silent frames.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from music import BRIGHTNESS_LEVELS, FRAMES, HOP, SAMPLE_RATE_HZ, Note, Song, arrange, level

CLIP_SAMPLES = FRAMES * HOP
HIGHEST_PARTIAL_HZ = 7000
PIVOT_HZ = 400.0
# Tilt of the mix in dB per octave at brightness -1 and +1.
TILT_DARK, TILT_BRIGHT = -7.0, 3.0
# Sample range of the loudness of clips: RMS of the reference song at energy -1 ... 1.
RMS_MIDDLE, RMS_OCTAVES = 0.085, 0.5
ATTACK_S, RELEASE_S = 0.004, 0.006

# Relative strength of partial k, and the envelope as a function of eighths since the onset (u) of all
# eighths (m).
PARTIALS = {
    "piano": [(k, 1.1 / k**1.2) for k in range(1, 15)],
    "synth": [(k, 0.9 / k) for k in range(1, 24, 2)],
    "organ": [(1, 0.9), (2, 0.6), (3, 0.3), (4, 0.3), (6, 0.16), (8, 0.12)],
    "bells": [(1, 1.1), (4, 0.45), (10, 0.2)],
    "bass": [(1, 1.0), (2, 0.6), (3, 0.35), (4, 0.2), (6, 0.1)],
    "pad": [(k, 1.0 / k) for k in range(1, 10)],
}


def envelope_shape(voice: str, u: np.ndarray, m: int) -> np.ndarray:
    """Loudness at `u` eighths after the onset of a note of `m` eighths; `u`: [N] in [0, m)."""
    if voice == "pad":
        return 0.1 + 0.9 * u / m
    if voice == "organ":
        return 1.0 - 0.5 * u / m
    if voice == "synth":
        return 1.0 - 0.8 * u / m
    return np.exp(-u * {"piano": 1.3, "bells": 1.9, "bass": 0.9}[voice])


@cache
def envelope(voice: str, frames: int, eighths: int) -> np.ndarray:
    """[frames * HOP] float32, with a short attack and release so that notes do not click."""
    samples = frames * HOP
    y = envelope_shape(voice, np.arange(samples) * (eighths / samples), eighths)
    attack, release = int(ATTACK_S * SAMPLE_RATE_HZ), int(RELEASE_S * SAMPLE_RATE_HZ)
    y[:attack] *= np.linspace(0, 1, attack)
    y[-release:] *= np.linspace(1, 0, release)
    return y.astype(np.float32)


def tilt_gain(frequency_hz: np.ndarray, brightness_level: int) -> np.ndarray:
    """Amplitude of the zero-phase tilt at each frequency, flat below 50 Hz and above 7 kHz."""
    slope = TILT_DARK + (TILT_BRIGHT - TILT_DARK) * brightness_level / (BRIGHTNESS_LEVELS - 1)
    octaves = np.log2(np.clip(frequency_hz, 50, HIGHEST_PARTIAL_HZ) / PIVOT_HZ)
    return 10 ** (slope * octaves / 20)


@cache
def tone(voice: str, pitch_hz: int, brightness_level: int) -> np.ndarray:
    """One frame of a steady tone, [HOP] float32."""
    t, y = np.arange(HOP) / SAMPLE_RATE_HZ, np.zeros(HOP)
    for k, strength in PARTIALS[voice]:
        if k * pitch_hz <= HIGHEST_PARTIAL_HZ:
            gain = float(tilt_gain(np.array(k * pitch_hz), brightness_level))
            y += strength * gain * np.sin(2 * np.pi * k * pitch_hz * t)
    return y.astype(np.float32)


@cache
def drum(voice: str, brightness_level: int) -> np.ndarray:
    """One drum hit, [N] float32; the same burst every time, so that it is the same codes every time."""
    rng = np.random.RandomState(7)
    samples = {"kick": 5, "snare": 4, "hat": 2}[voice] * HOP
    t = np.arange(samples) / SAMPLE_RATE_HZ
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    if voice == "kick":
        y = np.sin(2 * np.pi * (50 * t + 110 / 28 * (1 - np.exp(-28 * t)))) * np.exp(-t * 20)
        y += 0.2 * rng.randn(samples) * np.exp(-t * 400)
    else:
        spectrum = np.fft.rfft(rng.randn(samples)) * (frequency_hz > (700 if voice == "snare" else 4000))
        y = np.fft.irfft(spectrum, samples) * np.exp(-t * (35 if voice == "snare" else 90))
        if voice == "snare":
            y += 0.5 * np.sin(2 * np.pi * 200 * t) * np.exp(-t * 30)
    y = np.fft.irfft(np.fft.rfft(y) * tilt_gain(frequency_hz, brightness_level), samples)
    y[-200:] *= np.linspace(1, 0, 200)
    return y.astype(np.float32)


def _mix(notes: list[Note], brightness_level: int) -> np.ndarray:
    """The sum of all notes before the gain of the clip, [CLIP_SAMPLES] float32."""
    y = np.zeros(CLIP_SAMPLES + 16 * HOP, np.float32)
    for note in notes:
        start = note.start * HOP
        if note.pitch_hz == 0:
            sound = drum(note.voice, brightness_level)
        else:
            sound = np.tile(tone(note.voice, note.pitch_hz, brightness_level), note.frames)
            sound = sound * envelope(note.voice, note.frames, note.eighths)
        y[start : start + len(sound)] += note.gain * sound
    return y[:CLIP_SAMPLES]


@cache
def _reference_rms(brightness_level: int) -> float:
    """RMS of an ordinary song at this tilt. One gain for all songs of a tilt keeps equal frames equal."""
    song = Song(0, 0, 0, 0, 0, "major", "piano", True, 0, 0, 1)
    return float(np.sqrt(np.mean(_mix(arrange(song), brightness_level) ** 2)))


def render(song: Song) -> np.ndarray:
    """The clip, [CLIP_SAMPLES] float32 in (-1, 1); sets `song.tempo_bpm`."""
    brightness_level = level(song.brightness, BRIGHTNESS_LEVELS)
    target_rms = RMS_MIDDLE * 2 ** (RMS_OCTAVES * song.energy)
    y = _mix(arrange(song), brightness_level) * (target_rms / _reference_rms(brightness_level))
    return np.clip(y, -0.99, 0.99)
