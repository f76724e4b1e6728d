"""Composes the songs that the demo model learns: what is played when, on the codec's frame grid.

A song is one small band (bass, pad, lead, maybe drums) that repeats one-bar motifs over two chords.
Everything the captions speak of is drawn independently, as a number in [-1, 1] where it has a strength:

    tempo       66 ... 164 BPM (quarter notes), log-uniform
    brightness  the mean spectral centroid, whatever is played; `synth.py` finds the tilt that gives it
    density     how many of the eight eighth notes of a bar the lead plays
    energy      how loud, and how hard the drums hit
    mood, instrument, drums, and whether there is an intro or an ending

Most clips are cut from the middle of the music. Some begin with a bar of bass and pad alone, and some end:
on a first beat everybody holds the home chord, which rings out into silence before the clip is over.

Onsets fall on frames of 1/25 s. An eighth note is rarely a whole number of frames, so its onset is rounded
(`eighth_onsets`): each eighth is then one of two neighbouring lengths, and the mean tempo is exact. Tempo is
thereby a continuous quantity that the model has to keep deciding on, which is what lets steering grade it.

Every beat has an onset of the same weight, and what falls between beats is softer: that, not a listener's
habits, is what librosa has to tell the beat from its half and its double.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

SAMPLE_RATE_HZ = 16_000
HOP = 640
FRAME_RATE_HZ = SAMPLE_RATE_HZ // HOP
FRAMES = 400
EIGHTHS_PER_BAR = 8

SLOWEST_BPM, FASTEST_BPM = 66.0, 164.0
DRIFTING, LARGEST_DRIFT = 1 / 3, 0.3
ENERGY_LEVELS = 5
DENSITY_NOTES = (3, 4, 6, 8)  # with two notes a bar, the beat was hard to tell from its half
INSTRUMENTS = ("piano", "synth", "organ", "bells")
MOODS = ("major", "minor")
WITH_INTRO, WITH_ENDING = 0.3, 0.22
FIRST_ENDING_BAR, RING_EIGHTHS = 2, 8

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

BASS_GAIN, PAD_GAIN = 1.0, 0.16
LEAD_ON_BEAT, LEAD_OFF_BEAT = 0.62, 0.14
KICK_GAIN, TICK_GAIN, SNARE_GAIN, HAT_GAIN = 1.0, 0.4, 0.35, 0.1


@dataclass(frozen=True)
class Note:
    """One sounding event. `start` and `frames` are in frames, `eighths` its length in eighth notes."""

    voice: str
    pitch_hz: int
    start: int
    frames: int
    eighths: int
    gain: float
    rings: bool = False  # dies away within its length, as the last chord does


@dataclass
class Song:
    """What was drawn for one clip. `tempo`, `brightness`, `density`, `energy` lie in [-1, 1].

    ending_bar: the bar whose first beat is the last; 0 where the music goes on past the clip.
    """

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
    intro: bool = False
    ending_bar: int = 0
    tempo_bpm: float = 0.0
    tilt_level: int = -1

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
    drift = rng.uniform(-LARGEST_DRIFT, LARGEST_DRIFT) if rng.random() < DRIFTING else 0.0
    start, end = (min(1.0, max(-1.0, tempo + s * drift)) for s in (-0.5, 0.5))
    song = Song(
        tempo=start,
        tempo_end=end,
        brightness=rng.uniform(-1, 1),
        density=grid(rng.randrange(len(DENSITY_NOTES)), len(DENSITY_NOTES)),
        energy=grid(rng.randrange(ENERGY_LEVELS), ENERGY_LEVELS),
        mood=rng.choice(MOODS),
        instrument=rng.choice(INSTRUMENTS),
        drums=rng.random() < 0.65,
        motif=rng.randrange(len(MOTIFS)),
        progression=rng.randrange(2),
        register=rng.choice((1, 2)),
        intro=rng.random() < WITH_INTRO,
    )
    ends, where = rng.random() < WITH_ENDING, rng.random()
    if ends:
        bars = _ending_bars(song)
        song.ending_bar = bars[int(where * len(bars))]
    return song


def _ending_bars(song: Song) -> list[int]:
    """Bars that may hold the last chord: every other one, with room for it to ring out."""
    whole_eighths = sum(0 < onset <= FRAMES for onset in eighth_onsets(song))
    last = (whole_eighths - RING_EIGHTHS) // EIGHTHS_PER_BAR
    return list(range(FIRST_ENDING_BAR, last + 1, 2))


def bpm(tempo: float) -> float:
    """Quarter notes a minute for a tempo in [-1, 1]."""
    return SLOWEST_BPM * (FASTEST_BPM / SLOWEST_BPM) ** ((tempo + 1) / 2)


def beat_frames(tempo: float) -> float:
    """Frames to a quarter note for a tempo in [-1, 1], drawn half-way to a whole number.

    At 9.5 frames, say, beats of 9 and 10 frames would alternate, and two beats be more alike than one.
    """
    exact = 60 * FRAME_RATE_HZ / bpm(tempo)
    whole = round(exact)
    return whole + 0.5 * (exact - whole)


def eighth_onsets(song: Song) -> list[int]:
    """First frame of each eighth note; the first one past the end of the clip is included."""
    onsets, position = [0], 0.0
    while onsets[-1] < FRAMES:
        here = song.tempo + (song.tempo_end - song.tempo) * min(1.0, position / FRAMES)
        position += beat_frames(here)
        beat = round(position)
        onsets += [(onsets[-1] + beat) // 2, beat]
    return onsets


def mean_bpm(onsets: list[int]) -> float:
    """Quarter notes a minute over the whole eighths of the clip."""
    return 60 * FRAME_RATE_HZ * (len(onsets) - 1) / (2 * onsets[-1])


def _lead_steps(song: Song) -> list[int]:
    """The steps of the bar, in order, that the lead plays."""
    return sorted(STEP_ORDER[: DENSITY_NOTES[level(song.density, len(DENSITY_NOTES))]])


def _drum_hits(step: int, energy: float) -> list[tuple[str, float]]:
    """What the kit plays on a step of the bar: a kick on each beat, with tick or snare; a hat leads back."""
    strength = 0.75 + 0.35 * energy
    if step % 2:
        return [("hat", HAT_GAIN * strength)] if step == EIGHTHS_PER_BAR - 1 else []
    other = ("snare", SNARE_GAIN) if step % 4 == 2 else ("tick", TICK_GAIN)
    return [("kick", KICK_GAIN * strength), (other[0], other[1] * strength)]


class _Arranger:
    """Writes the notes of one song."""

    def __init__(self, song: Song) -> None:
        self.song, self.onsets, self.notes = song, eighth_onsets(song), []
        self.steps, self.motif = _lead_steps(song), MOTIFS[song.motif]
        self.progression = PROGRESSIONS[song.mood][song.progression]

    def add(
        self, voice: str, pitch_hz: int, eighth: int, eighths: int, gain: float, rings: bool = False
    ) -> None:
        """One note from the start of one eighth to that of another."""
        end = min(eighth + eighths, len(self.onsets) - 1)
        start, frames = self.onsets[eighth], self.onsets[end] - self.onsets[eighth]
        self.notes.append(Note(voice, pitch_hz, start, frames, end - eighth, gain, rings))

    def add_eighth(self, eighth: int) -> None:
        """All that begins on one eighth of the running music."""
        bar, step = divmod(eighth, EIGHTHS_PER_BAR)
        root_hz, tones_hz = CHORDS[self.progression[bar % 2]]
        if step % 2 == 0:
            self.add("bass", root_hz, eighth, 2, BASS_GAIN)
            for tone_hz in tones_hz[:3]:
                self.add("pad", tone_hz, eighth, 2, PAD_GAIN)
        if self.song.intro and bar == 0:
            return
        if step in self.steps:
            following = next((s for s in self.steps if s > step), EIGHTHS_PER_BAR)
            gain = LEAD_ON_BEAT if step % 2 == 0 else LEAD_OFF_BEAT
            pitch_hz = tones_hz[self.motif[step]] * self.song.register
            self.add(self.song.instrument, pitch_hz, eighth, min(2, following - step), gain)
        if self.song.drums:
            for voice, gain in _drum_hits(step, self.song.energy):
                self.add(voice, 0, eighth, 1, gain)

    def add_last_chord(self, eighth: int) -> None:
        """The home chord, held by everybody and ringing out."""
        root_hz, tones_hz = CHORDS[self.progression[0]]
        self.add("bass", root_hz, eighth, RING_EIGHTHS, BASS_GAIN, rings=True)
        for tone_hz in tones_hz[:3]:
            self.add("pad", tone_hz, eighth, RING_EIGHTHS, PAD_GAIN, rings=True)
        lead_hz = tones_hz[0] * self.song.register
        self.add(self.song.instrument, lead_hz, eighth, RING_EIGHTHS, LEAD_ON_BEAT, rings=True)
        if self.song.drums:
            for voice, gain in _drum_hits(0, self.song.energy):
                self.add(voice, 0, eighth, 1, gain)


def arrange(song: Song) -> list[Note]:
    """All notes of the clip; `song.tempo_bpm` is set to the tempo that resulted."""
    arranger = _Arranger(song)
    song.tempo_bpm = mean_bpm(arranger.onsets)
    last = song.ending_bar * EIGHTHS_PER_BAR if song.ending_bar else len(arranger.onsets) - 1
    for eighth in range(last):
        arranger.add_eighth(eighth)
    if song.ending_bar:
        arranger.add_last_chord(last)
    return arranger.notes
