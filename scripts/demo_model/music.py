"""Composes the songs that the demo model learns: what is played when, on the codec's frame grid.

A song is one small band (bass, pad, lead, maybe drums) that repeats one-bar motifs over two chords.
Everything the captions speak of is drawn independently, as a number in [-1, 1] where it has a strength:

    tempo       75 ... 150 BPM (quarter notes), log-uniform; the eighth note is 10 ... 5 frames long
    brightness  the spectral tilt of the whole mix
    density     how many of the eight eighth notes of a bar the lead plays
    energy      how loud, and how hard the drums hit
    mood, instrument, drums

Onsets fall on frames of 1/25 s. An eighth note is rarely a whole number of frames, so its onset is rounded
(`eighth_onsets`): each eighth is then one of two neighbouring lengths, and the mean tempo is exact. Tempo is
thereby a continuous quantity that the model has to keep deciding on, which is what lets steering grade it.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

SAMPLE_RATE_HZ = 16_000
HOP = 640
FRAME_RATE_HZ = SAMPLE_RATE_HZ // HOP
FRAMES = 200
EIGHTHS_PER_BAR = 8

SLOWEST_EIGHTH_FRAMES = 10.0
BRIGHTNESS_LEVELS = 11
ENERGY_LEVELS = 5
DENSITY_NOTES = (3, 4, 6, 8)  # with two notes a bar, the beat was hard to tell from its half
INSTRUMENTS = ("piano", "synth", "organ", "bells")
MOODS = ("major", "minor")

# Just intonation on 300 Hz: every pitch is a multiple of 25 Hz, so a held note is the same frame again and
# again.
CHORDS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "I": (150, (300, 375, 450, 600)),
    "IV": (200, (300, 400, 500, 600)),
    "vi": (125, (250, 300, 375, 500)),
}
PROGRESSIONS = {"major": (("I", "IV"), ("I", "I")), "minor": (("vi", "IV"), ("vi", "vi"))}
# Index of the chord tone on each eighth; density then keeps the steps that come first in STEP_ORDER.
MOTIFS = (
    (0, 1, 2, 1, 0, 1, 2, 1),
    (0, 1, 2, 3, 2, 1, 2, 1),
    (2, 1, 0, 1, 2, 3, 2, 1),
    (0, 0, 1, 1, 2, 2, 1, 1),
    (3, 2, 1, 0, 3, 2, 1, 0),
    (0, 2, 1, 2, 0, 2, 1, 2),
    (0, 3, 2, 3, 1, 3, 2, 3),
    (2, 2, 3, 2, 1, 1, 0, 1),
)
STEP_ORDER = (0, 4, 2, 6, 3, 7, 1, 5)


@dataclass(frozen=True)
class Note:
    """One sounding event. `start` and `frames` are in frames, `eighths` its length in eighth notes."""

    voice: str
    pitch_hz: int
    start: int
    frames: int
    eighths: int
    gain: float


@dataclass
class Song:
    """What was drawn for one clip. `tempo`, `brightness`, `density`, `energy` lie in [-1, 1]."""

    tempo: float
    tempo_end: float
    brightness: float
    density: float
    energy: float
    mood: str
    instrument: str
    drums: bool
    motif: int
    progression: int
    register: int
    tempo_bpm: float = 0.0

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)


def level(value: float, levels: int) -> int:
    """Index 0 ... levels - 1 of the grid value nearest to `value` in [-1, 1]."""
    return round((value + 1) / 2 * (levels - 1))


def grid(index: int, levels: int) -> float:
    """The inverse of `level`."""
    return 2 * index / (levels - 1) - 1


def draw_song(rng: random.Random) -> Song:
    """Draws every attribute independently of the others; a third of the clips changes tempo on the way."""
    tempo = rng.uniform(-1, 1)
    drift = rng.uniform(-0.5, 0.5) if rng.random() < 1 / 3 else 0.0
    start, end = (min(1.0, max(-1.0, tempo + s * drift)) for s in (-0.5, 0.5))
    return Song(
        tempo=start,
        tempo_end=end,
        brightness=grid(rng.randrange(BRIGHTNESS_LEVELS), BRIGHTNESS_LEVELS),
        density=grid(rng.randrange(len(DENSITY_NOTES)), len(DENSITY_NOTES)),
        energy=grid(rng.randrange(ENERGY_LEVELS), ENERGY_LEVELS),
        mood=rng.choice(MOODS),
        instrument=rng.choice(INSTRUMENTS),
        drums=rng.random() < 0.65,
        motif=rng.randrange(len(MOTIFS)),
        progression=rng.randrange(2),
        register=rng.choice((1, 2)),
    )


def eighth_frames(tempo: float) -> float:
    """Frames to an eighth note for a tempo in [-1, 1]: 10 (75 BPM) ... 5 (150 BPM)."""
    return SLOWEST_EIGHTH_FRAMES * 2 ** (-(tempo + 1) / 2)


def eighth_onsets(song: Song) -> list[int]:
    """First frame of each eighth note; the first one past the end of the clip is included."""
    onsets, position = [0], 0.0
    while onsets[-1] < FRAMES:
        here = song.tempo + (song.tempo_end - song.tempo) * min(1.0, position / FRAMES)
        position += eighth_frames(here)
        onsets.append(round(position))
    return onsets


def mean_bpm(onsets: list[int]) -> float:
    """Quarter notes a minute over the whole eighths of the clip."""
    return 60 * FRAME_RATE_HZ * (len(onsets) - 1) / (2 * onsets[-1])


def _lead_steps(song: Song) -> list[int]:
    """The steps of the bar, in order, that the lead plays."""
    return sorted(STEP_ORDER[: DENSITY_NOTES[level(song.density, len(DENSITY_NOTES))]])


def _drum_hits(step: int, energy: float) -> list[tuple[str, float]]:
    """What the kit plays on a step of the bar: beats are kick and snare, and the off-beats hats."""
    strength = 0.75 + 0.35 * energy
    if step % 2:
        return [("hat", 0.22 * strength)]
    return [("kick", strength)] + ([("snare", 0.7 * strength)] if step % 4 == 2 else [])


def arrange(song: Song) -> list[Note]:
    """All notes of the clip; `song.tempo_bpm` is set to the tempo that resulted."""
    onsets = eighth_onsets(song)
    song.tempo_bpm = mean_bpm(onsets)
    steps, motif, notes = _lead_steps(song), MOTIFS[song.motif], []

    def add(voice: str, pitch_hz: int, eighth: int, eighths: int, gain: float) -> None:
        end = min(eighth + eighths, len(onsets) - 1)
        notes.append(Note(voice, pitch_hz, onsets[eighth], onsets[end] - onsets[eighth], end - eighth, gain))

    for eighth in range(len(onsets) - 1):
        bar, step = divmod(eighth, EIGHTHS_PER_BAR)
        root_hz, tones_hz = CHORDS[PROGRESSIONS[song.mood][song.progression][bar % 2]]
        if step % 2 == 0:
            add("bass", root_hz, eighth, 2, 1.0 if step % 4 == 0 else 0.85)
            for tone_hz in tones_hz[:3]:
                add("pad", tone_hz, eighth, 2, 0.16)
        if step in steps:
            following = next((s for s in steps if s > step), EIGHTHS_PER_BAR)
            accent = 0.62 if step % 2 == 0 else 0.28
            add(
                song.instrument,
                tones_hz[motif[step]] * song.register,
                eighth,
                min(2, following - step),
                accent,
            )
        if song.drums:
            for voice, gain in _drum_hits(step, song.energy):
                add(voice, 0, eighth, 1, gain)
    return notes
