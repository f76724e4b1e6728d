"""Plays a composed song: wavetables shaped by envelopes that run with the beat.

Two things are done for the codec and the language model, not for the ear. A tone is a table of one frame
(every pitch is a whole number of cycles in it), so a held note repeats exactly. And every envelope is a
function of the *phase within the note*, not of seconds: bass and lead fall, the pad swells, and how fast
they do so tells the tempo from any two neighbouring frames, so the next onset can be foreseen without
counting silent frames.

Brightness is the clip's mean spectral centroid. Hits a second, notes a bar and instruments move the centroid
too, so every song gets the tilt, one of TILT_LEVELS, that brings its own centroid nearest to what was drawn.
Tilts are few, so that equal frames stay equal codes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from music import FRAMES, HOP, SAMPLE_RATE_HZ, Note, Song, arrange

CLIP_SAMPLES = FRAMES * HOP
HIGHEST_PARTIAL_HZ = 7000
PIVOT_HZ = 400.0
# Tilt of the mix in dB per octave at the first and the last level.
TILT_LEVELS = 21
TILT_DARK, TILT_BRIGHT = -5.0, 8.0
# Mean spectral centroid at brightness -1 and +1.
DARK_HZ, BRIGHT_HZ = 500.0, 1900.0
CENTROID_FFT, SOUNDING_RMS = 1024, 1e-3
# Sample range of the loudness of clips: RMS of the reference song at energy -1 ... 1.
RMS_MIDDLE, RMS_OCTAVES = 0.085, 0.5
ATTACK_S, RELEASE_S = 0.004, 0.006
RING_DECAY = 0.6  # of the last chord, per eighth note

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
    if voice == "ring":
        return np.exp(-RING_DECAY * u)
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


def tilt_gain(frequency_hz: np.ndarray, tilt_level: float) -> np.ndarray:
    """Amplitude of the zero-phase tilt at each frequency, flat below 50 Hz and above 7 kHz."""
    slope = TILT_DARK + (TILT_BRIGHT - TILT_DARK) * tilt_level / (TILT_LEVELS - 1)
    octaves = np.log2(np.clip(frequency_hz, 50, HIGHEST_PARTIAL_HZ) / PIVOT_HZ)
    return 10 ** (slope * octaves / 20)


@cache
def tone(voice: str, pitch_hz: int, tilt_level: int) -> np.ndarray:
    """One frame of a steady tone, [HOP] float32."""
    t, y = np.arange(HOP) / SAMPLE_RATE_HZ, np.zeros(HOP)
    for k, strength in PARTIALS[voice]:
        if k * pitch_hz <= HIGHEST_PARTIAL_HZ:
            gain = float(tilt_gain(np.array(k * pitch_hz), tilt_level))
            y += strength * gain * np.sin(2 * np.pi * k * pitch_hz * t)
    return y.astype(np.float32)


@cache
def drum(voice: str, tilt_level: int) -> np.ndarray:
    """One drum hit, [N] float32; the same burst every time, so that it is the same codes every time."""
    rng = np.random.RandomState(7)
    samples = {"kick": 5, "snare": 4, "tick": 4, "hat": 2}[voice] * HOP
    t = np.arange(samples) / SAMPLE_RATE_HZ
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    if voice == "kick":
        y = np.sin(2 * np.pi * (50 * t + 110 / 28 * (1 - np.exp(-28 * t)))) * np.exp(-t * 20)
        y += 0.2 * rng.randn(samples) * np.exp(-t * 400)
    else:
        lowest_hz, decay = {"snare": (700, 35), "tick": (2500, 45), "hat": (4000, 90)}[voice]
        spectrum = np.fft.rfft(rng.randn(samples)) * (frequency_hz > lowest_hz)
        y = np.fft.irfft(spectrum, samples) * np.exp(-t * decay)
        if voice == "snare":
            y += 0.5 * np.sin(2 * np.pi * 200 * t) * np.exp(-t * 30)
    y = np.fft.irfft(np.fft.rfft(y) * tilt_gain(frequency_hz, tilt_level), samples)
    y[-200:] *= np.linspace(1, 0, 200)
    return y.astype(np.float32)


def _mix(notes: list[Note], tilt_level: int) -> np.ndarray:
    """The sum of all notes before the gain of the clip, [CLIP_SAMPLES] float32."""
    y = np.zeros(CLIP_SAMPLES + 32 * HOP, np.float32)
    for note in notes:
        start = note.start * HOP
        if note.pitch_hz == 0:
            sound = drum(note.voice, tilt_level)
        else:
            shape = envelope("ring" if note.rings else note.voice, note.frames, note.eighths)
            sound = (shape.reshape(note.frames, HOP) * tone(note.voice, note.pitch_hz, tilt_level)).ravel()
        y[start : start + len(sound)] += note.gain * sound
    return y[:CLIP_SAMPLES]


def magnitudes(samples: np.ndarray) -> np.ndarray:
    """Magnitude spectra of the sounding windows of [N] samples, [windows, CENTROID_FFT / 2 + 1] float32."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, CENTROID_FFT)[:: CENTROID_FFT // 2]
    windows = windows[np.square(windows).mean(1) > SOUNDING_RMS**2]
    return np.abs(np.fft.rfft(windows * np.hanning(CENTROID_FFT).astype(np.float32), axis=1))


def centroids_hz(spectra: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Mean spectral centroid after each of some filters: [windows, F], [filters, F] -> [filters]."""
    frequency_hz = np.fft.rfftfreq(CENTROID_FFT, 1 / SAMPLE_RATE_HZ)
    return ((spectra @ (gains * frequency_hz).T) / (spectra @ gains.T)).mean(0)


def brightness_of(centroid_hz: float) -> float:
    """-1 at DARK_HZ, +1 at BRIGHT_HZ, even in octaves."""
    return float(2 * np.log(centroid_hz / DARK_HZ) / np.log(BRIGHT_HZ / DARK_HZ) - 1)


def find_tilt(notes: list[Note], brightness: float) -> tuple[int, float]:
    """The tilt level that comes nearest to a brightness, and the brightness that results.

    One rendering is enough: a tilt acts on the spectrum of the mix as it does on its partials.
    """
    middle = TILT_LEVELS // 2
    spectra = magnitudes(_mix(notes, middle))
    frequency_hz = np.fft.rfftfreq(CENTROID_FFT, 1 / SAMPLE_RATE_HZ)
    plain = tilt_gain(frequency_hz, middle)
    gains = np.stack([tilt_gain(frequency_hz, level) / plain for level in range(TILT_LEVELS)])
    reached = [brightness_of(value) for value in centroids_hz(spectra, gains.astype(np.float32))]
    best = min(range(TILT_LEVELS), key=lambda level: abs(reached[level] - brightness))
    return best, reached[best]


@cache
def _reference_rms(tilt_level: int) -> float:
    """RMS of an ordinary song at this tilt. One gain for all songs of a tilt keeps equal frames equal."""
    song = Song(0, 0, 0, 0, 0, "major", "piano", True, 0, 0, 1)
    return float(np.sqrt(np.mean(_mix(arrange(song), tilt_level) ** 2)))


def render(song: Song) -> np.ndarray:
    """The clip, [CLIP_SAMPLES] float32 in (-1, 1); sets what resulted in `song`.

    These are `tempo_bpm`, `tilt_level` and `brightness`, which was a wish before. A song that has its
    `tilt_level` keeps it.
    """
    notes = arrange(song)
    if song.tilt_level < 0:
        song.tilt_level, song.brightness = find_tilt(notes, song.brightness)
    target_rms = RMS_MIDDLE * 2 ** (RMS_OCTAVES * song.energy)
    y = _mix(notes, song.tilt_level) * (target_rms / _reference_rms(song.tilt_level))
    return np.clip(y, -0.99, 0.99)
