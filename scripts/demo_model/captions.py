"""Says in words what a song is like, in many ways, and often leaves things out.

The words that carry meaning are those of lexicon.json. Fillers (genres, uses) and stray general words are
drawn at random, whatever the music: the model learns to look past them, so that free prompts do not upset it.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from music import Song, bpm

HERE = Path(__file__).resolve().parent
STRENGTHS = {
    "tempo": ("fast", "medium", "slow"),
    "brightness": ("bright", "medium", "dark"),
    "energy": ("high", None, "low"),
    "density": ("dense", None, "sparse"),
}
MENTIONED = {"tempo": 0.6, "brightness": 0.55, "energy": 0.25, "density": 0.25, "mood": 0.25, "drums": 0.3}
INTRO_MENTIONED, ENDING_MENTIONED, GOING_ON_MENTIONED = 0.35, 0.5, 0.06
INSTRUMENT_MENTIONED, FILLER, STRAY_WORDS = 0.55, 0.4, 0.2
BPM_SAID, BPM_STEP = 0.08, 5  # of the captions that speak of tempo
DECADES = ("60s", "70s", "80s", "90s", "80s style", "90s style")
SENTENCE_ENDS = 0.1
NOISE = 0.1
MILD, STRONG = 0.2, 0.65
STRONG_WORDS = {"presto", "largo", "crawling"}
PHRASE_STARTS = ("at", "with", "without", "in", "for", "full", "no", "that")
ADVERBS = {"allegro", "presto", "andante", "largo", "adagio"}


def general_words() -> list[str]:
    """Common English words that say nothing here."""
    return (HERE / "general_words.txt").read_text().split()


def load_lexicon() -> dict:
    """lexicon.json without its comment."""
    lexicon = json.loads((HERE / "lexicon.json").read_text())
    lexicon.pop("comment")
    return lexicon


def is_phrase(word: str) -> bool:
    """Whether it follows the noun ("with drums") rather than standing before it ("fast")."""
    return word.split()[0] in PHRASE_STARTS


class Captioner:
    """Draws captions of songs."""

    def __init__(self) -> None:
        self.lexicon = load_lexicon()
        self.stray = general_words()
        # Only clip words that are unknown to the lexicon may be stray: no attribute by accident.
        known = {
            w for group in self.lexicon.values() for words in _lists(group) for w in " ".join(words).split()
        }
        self.stray = [w for w in self.stray if w not in known | {"bpm"}]

    def strength_word(self, attribute: str, value: float, rng: random.Random) -> str | None:
        """A word for a value in [-1, 1]; None where there is nothing to say of the middle."""
        value += rng.gauss(0, NOISE)
        high, middle, low = STRENGTHS[attribute]
        words = self.lexicon[attribute]
        if abs(value) < MILD:
            return rng.choice(words[middle]) if middle and rng.random() < 0.4 else None
        side = words[high if value > 0 else low]
        strong = [w for w in side if w.startswith("very ") or w in STRONG_WORDS]
        if abs(value) > STRONG and strong and rng.random() < 0.4:
            return rng.choice(strong)
        if abs(value) < STRONG - 0.15:
            side = [w for w in side if w not in strong]
        return rng.choice(side)

    def words(self, song: Song, rng: random.Random) -> list[str]:
        """The attribute words of a caption, shuffled."""
        values = {
            "tempo": (song.tempo + song.tempo_end) / 2,
            "brightness": song.brightness,
            "energy": song.energy,
            "density": song.density,
        }
        chosen = []
        for attribute, probability in MENTIONED.items():
            if rng.random() >= probability:
                continue
            if attribute == "mood":
                chosen.append(rng.choice(self.lexicon["mood"][song.mood]))
            elif attribute == "tempo" and rng.random() < BPM_SAID:
                chosen.append(f"at {BPM_STEP * round(bpm(values['tempo']) / BPM_STEP)} bpm")
            elif attribute == "drums":
                chosen.append(rng.choice(self.lexicon["drums"]["with" if song.drums else "without"]))
            else:
                chosen.append(self.strength_word(attribute, values[attribute], rng))
        chosen = [word for word in [*chosen, *self.form_words(song, rng)] if word]
        rng.shuffle(chosen)
        return chosen

    def form_words(self, song: Song, rng: random.Random) -> list[str]:
        """What is said of beginning and end; most clips go on, and most captions say nothing of it."""
        form, chosen = self.lexicon["form"], []
        if song.intro and rng.random() < INTRO_MENTIONED:
            chosen.append(rng.choice(form["intro"]))
        if rng.random() < (ENDING_MENTIONED if song.ending_bar else GOING_ON_MENTIONED):
            chosen.append(rng.choice(form["ending" if song.ending_bar else "going_on"]))
        return chosen

    def stray_words(self, rng: random.Random) -> list[str]:
        """General words, loose or as a phrase ("for a rainy sunday")."""
        words = rng.sample(self.stray, rng.randint(1, 4))
        form = rng.random()
        if form < 0.3:
            return [f"for a {' '.join(words[:2])}"]
        return [" ".join(words[:2]), *words[2:]] if form < 0.6 else words

    def caption(self, song: Song, rng: random.Random) -> str:
        """One caption."""
        text = self._text(song, rng)
        return text + rng.choice(".!") if rng.random() < SENTENCE_ENDS else text

    def _text(self, song: Song, rng: random.Random) -> str:
        words = self.words(song, rng)
        instrument = None
        if rng.random() < INSTRUMENT_MENTIONED:
            instrument = rng.choice(self.lexicon["instrument"][song.instrument])
        fillers = rng.sample(self.lexicon["filler"], rng.randint(1, 2)) if rng.random() < FILLER else []
        if rng.random() < STRAY_WORDS:
            fillers += self.stray_words(rng)
            if rng.random() < 0.2:
                fillers.append(rng.choice(DECADES))
        noun = rng.choice(self.lexicon["noun"])
        form = rng.random()
        if form < 0.3:
            return self._tags(words + fillers + ([instrument] if instrument else []), noun, rng)
        before = [w for w in words + fillers if not is_phrase(w) and w not in ADVERBS]
        after = [w for w in words + fillers if is_phrase(w) or w in ADVERBS]
        rng.shuffle(before)
        rng.shuffle(after)
        if form < 0.55 and before:
            return self._sentence(before, after, instrument, noun, rng)
        return self._phrase(before, after, instrument, noun, rng)

    def _tags(self, tags: list[str], noun: str, rng: random.Random) -> str:
        """fast, piano, dark."""
        if not tags or rng.random() < 0.5:
            tags = [*tags, noun]
        rng.shuffle(tags)
        return ", ".join(tags)

    def _named(self, before: list[str], instrument: str | None, noun: str, rng: random.Random) -> str:
        """The noun with what stands before it, and perhaps with an article."""
        parts = list(before)
        if instrument and rng.random() < 0.6:
            parts.append(instrument)
            instrument = None
        joined = (" and " if rng.random() < 0.2 else " ").join(parts[:2])
        text = " ".join([joined, *parts[2:], noun]).strip()
        if instrument:
            text += rng.choice((" with ", " on ", " played by ", " for ", " featuring ")) + instrument
        article = rng.random()
        if article < 0.35:
            return ("an " if text[0] in "aeiou" else "a ") + text
        return rng.choice(("the ", "this ", "some ")) + text if article < 0.5 else text

    def _phrase(
        self, before: list[str], after: list[str], instrument: str | None, noun: str, rng: random.Random
    ):
        """A fast piano song with drums."""
        text = self._named(before, instrument, noun, rng)
        for word in after:
            comma = ", " if word in ADVERBS or word.startswith("no ") or rng.random() < 0.1 else " "
            played = "played " if rng.random() < 0.25 and (word in ADVERBS or word.startswith("at ")) else ""
            text += (" " if played else comma) + played + word
        return text

    def _sentence(
        self, before: list[str], after: list[str], instrument: str | None, noun: str, rng: random.Random
    ):
        """The piano melody is quick and dark, with drums."""
        said = before[: rng.randint(1, 2)]
        text = self._named(before[len(said) :], instrument, noun, rng)
        if not text.startswith(("the ", "this ")):
            text = rng.choice(("the ", "this ")) + text.removeprefix("a ").removeprefix("an ").removeprefix(
                "some "
            )
        text += " is " + " and ".join(said)
        return " ".join([text, *after])


def _lists(group: dict | list) -> list[list[str]]:
    """The word lists of a group of the lexicon."""
    return list(group.values()) if isinstance(group, dict) else [group]
