"""Checks of prompt sets: each takes plain data and returns what is wrong as sentences, none if all is well.

A *phrase* is an entry of the lexicon ("at a fast tempo"); a *word* is lower case and keeps its hyphens.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema

FUNCTION_WORDS = frozenset(
    "a an the of in and with for at on to is played by it its very that this from".split()
)

# Which group of the lexicon is the positive side of a concept, and which the negative.
SIDES = {
    "tempo": ("fast", "slow"),
    "brightness": ("bright", "dark"),
    "mood": ("major", "minor"),
    "energy": ("high", "low"),
    "density": ("dense", "sparse"),
}


def words(text: str) -> list[str]:
    """Words of a text in lower case; hyphens stay inside a word, other punctuation goes."""
    return re.findall(r"[^\W_]+(?:[-'][^\W_]+)*", text.lower())


def normalised(text: str) -> str:
    """The text as duplicates are compared: without differences of case and white space."""
    return " ".join(text.casefold().split())


def texts(prompts: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """The texts of a list of prompts, each a string or an object with a text."""
    return [p if isinstance(p, str) else p["text"] for p in prompts]


def content_words(phrases: Iterable[str]) -> set[str]:
    """The words of some phrases, less the function words."""
    return {w for phrase in phrases for w in words(phrase)} - FUNCTION_WORDS


@dataclass(frozen=True)
class Lexicon:
    """The words that the demo model knows, by category and group."""

    groups: Mapping[str, Any]  # category -> {group: [phrases]}, or -> [phrases]

    def phrases(self, category: str) -> list[str]:
        """All phrases of a category, whatever their group."""
        entry = self.groups[category]
        return list(entry) if isinstance(entry, list) else [p for group in entry.values() for p in group]

    @cached_property
    def vocabulary(self) -> set[str]:
        """Every word that a prompt may use."""
        categories = [c for c, entry in self.groups.items() if not isinstance(entry, str)]
        return FUNCTION_WORDS | {w for c in categories for p in self.phrases(c) for w in words(p)}

    def words_against(self, concept: str, side: str) -> set[str]:
        """Words of the concept's other groups, the opposite and the middle, that this side never uses."""
        groups = self.groups[concept]
        others = content_words(p for name, group in groups.items() if name != side for p in group)
        return others - content_words(groups[side])

    def words_of_other_concepts(self, concept: str | None) -> set[str]:
        """Words of every concept but this one; of all concepts for None."""
        return {w for other in SIDES if other != concept for w in content_words(self.phrases(other))}


def schema_errors(document: Any, schema: Mapping[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def count_errors(prompts: Sequence[str], expected: int) -> list[str]:
    return [] if len(prompts) == expected else [f"{len(prompts)} prompts instead of {expected}"]


def duplicates(prompts: Iterable[str]) -> list[str]:
    counts = Counter(normalised(p) for p in prompts)
    return [f"{n} times: {text!r}" for text, n in counts.items() if n > 1]


def forbidden_words(prompts: Iterable[str], forbidden: set[str]) -> list[str]:
    return [f"{sorted(found)} in {p!r}" for p in prompts if (found := forbidden.intersection(words(p)))]


def unknown_words(prompts: Iterable[str], vocabulary: set[str]) -> list[str]:
    return [f"{unknown} in {p!r}" for p in prompts if (unknown := sorted(set(words(p)) - vocabulary))]


def wrong_articles(prompts: Iterable[str]) -> list[str]:
    """Where "a" is before a vowel or "an" before a consonant (by letter, which is right for the lexicon)."""
    pattern = re.compile(r"\b(?:a (?=[aeiou])|an (?![aeiou]))\w*", re.IGNORECASE)
    return [f"{match.group()!r} in {p!r}" for p in prompts for match in pattern.finditer(p)]


def split_phrase(text: str, phrases: Iterable[str]) -> tuple[list[str], str]:
    """The concept phrases found in a text, longest first choice, and the text with "{}" in place of each."""
    alternatives = "|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])")
    text = normalised(text)
    return pattern.findall(text), pattern.sub("{}", text)


def phrase_count_errors(prompts: Iterable[str], phrases: Sequence[str]) -> list[str]:
    """Prompts that do not say their concept exactly once."""
    found = [(p, split_phrase(p, phrases)[0]) for p in prompts]
    return [f"{len(f)} concept phrases {f} in {p!r}" for p, f in found if len(f) != 1]


def pair_errors(
    positive: Sequence[str], negative: Sequence[str], phrases: tuple[Sequence[str], Sequence[str]]
) -> list[str]:
    """Where prompt i of the two sides differs in more than the concept phrase, or the exchange is uneven.

    A phrase has one opposite throughout, and "very" is answered by "very".
    """
    if len(positive) != len(negative):
        return [f"{len(positive)} positive prompts but {len(negative)} negative ones"]
    errors = []
    opposites: dict[str, set[str]] = defaultdict(set)
    for plus, minus in zip(positive, negative, strict=True):
        plus_phrases, plus_frame = split_phrase(plus, phrases[0])
        minus_phrases, minus_frame = split_phrase(minus, phrases[1])
        if plus_frame != minus_frame:
            errors.append(f"{plus!r} and {minus!r} differ in more than the concept")
        for a, b in zip(plus_phrases, minus_phrases, strict=False):
            opposites[a].add(b)
            opposites[b].add(a)
            if ("very" in words(a)) != ("very" in words(b)):
                errors.append(f"{a!r} and {b!r} differ in strength")
    return errors + [f"{a!r} has several opposites: {sorted(b)}" for a, b in opposites.items() if len(b) > 1]


def unbalanced_words(
    positive: Iterable[str], negative: Iterable[str], phrases: tuple[Sequence[str], Sequence[str]]
) -> list[str]:
    """Words outside the concept phrases that one side uses more often than the other."""
    sides = (positive, negative)
    plus, minus = (
        Counter(w for p in side for w in words(split_phrase(p, own)[1]))
        for side, own in zip(sides, phrases, strict=True)
    )
    return [f"{w!r}: {plus[w]} against {minus[w]}" for w in sorted(plus | minus) if plus[w] != minus[w]]


def length_errors(positive: Sequence[str], negative: Sequence[str], tolerance: float = 0.05) -> list[str]:
    """If the mean lengths in words differ by more than the tolerance, relative to the longer."""
    plus, minus = (sum(len(words(p)) for p in side) / len(side) for side in (positive, negative))
    if abs(plus - minus) <= tolerance * max(plus, minus):
        return []
    return [f"mean lengths of {plus:.2f} and {minus:.2f} words"]


def frequency_errors(prompts: Iterable[str], phrases: Sequence[str], ratio: float = 1.5) -> list[str]:
    """If a phrase is unused, or the most frequent is used more than `ratio` times as often as the rarest."""
    counts = Counter({phrase: 0 for phrase in phrases})
    counts.update(found for p in prompts for found in split_phrase(p, phrases)[0])
    (often, most), (seldom, least) = counts.most_common()[0], counts.most_common()[-1]
    if least > 0 and most <= ratio * least:
        return []
    return [f"{often!r} is used {most} times but {seldom!r} {least} times"]


def front_gaps(prompts: Sequence[str], phrases: Sequence[str]) -> list[str]:
    """Phrases missing from the first len(phrases) prompts, which a set cut from the front would lack."""
    front = {found for p in prompts[: len(phrases)] for found in split_phrase(p, phrases)[0]}
    return [f"{p!r} is not among the first {len(phrases)} prompts" for p in phrases if p not in front]


def shared_prompts(prompts: Iterable[str], others: Iterable[str]) -> list[str]:
    taken = {normalised(p) for p in others}
    return [f"{p!r} is in both" for p in prompts if normalised(p) in taken]
