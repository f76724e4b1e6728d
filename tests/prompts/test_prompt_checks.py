"""Each check of the prompt sets can fail: it passes good data and reports a planted violation."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from prompt_checks import (
    SIDES,
    Lexicon,
    count_errors,
    duplicates,
    forbidden_words,
    frequency_errors,
    front_gaps,
    length_errors,
    pair_errors,
    phrase_count_errors,
    schema_errors,
    shared_prompts,
    unbalanced_words,
    unknown_words,
    words,
    wrong_articles,
)

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "prompts" / "schema.json").read_text(encoding="utf-8"))
LEXICON = Lexicon(json.loads((ROOT / "scripts" / "demo_model" / "lexicon.json").read_text(encoding="utf-8")))
TEMPO = (LEXICON.groups["tempo"]["fast"], LEXICON.groups["tempo"]["slow"])

FAST = ["fast piano music", "a very fast organ tune"]
SLOW = ["slow piano music", "a very slow organ tune"]

CONCEPT_SET = {
    "concept": "tempo",
    "positive": {"label": "fast", "prompts": ["fast music"]},
    "negative": {"label": "slow", "prompts": [{"text": "slow music", "value": 60, "note": "a ballad"}]},
}
NEUTRAL_SET = {"concept": "neutral", "prompts": ["piano music"]}


def test_schema_accepts_minimal_sets() -> None:
    assert schema_errors(CONCEPT_SET, SCHEMA) == []
    assert schema_errors(NEUTRAL_SET, SCHEMA) == []


def planted(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a document with the value at the path replaced, or the key removed if the value is `...`."""
    document = copy.deepcopy(document)
    node = document
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("concept",), ..., "'concept' is a required property"),
        (("concept",), " ", "does not match"),
        (("description",), 3, "not of type 'string'"),
        (("positive",), ..., "'positive' is a required property"),
        (("negative",), ..., "'negative' is a required property"),
        (("negative",), ["slow music"], "not of type 'object'"),
        (("positive", "label"), ..., "'label' is a required property"),
        (("positive", "label"), "\t\n", "does not match"),
        (("positive", "prompts"), ..., "'prompts' is a required property"),
        (("positive", "prompts"), [], "non-empty"),
        (("positive", "prompts"), "fast music", "not of type 'array'"),
        (("positive", "prompts"), ["fast music", "fast music"], "non-unique"),
        (("positive", "prompts", 0), "", "does not match"),
        (("positive", "prompts", 0), 120, "not of type 'string'"),
        (("positive", "prompts", 0), None, "not of type 'string'"),
        (("positive", "promts"), ["fast music"], "'promts' was unexpected"),
        (("negative", "prompts", 0, "text"), ..., "'text' is a required property"),
        (("negative", "prompts", 0, "text"), " ", "does not match"),
        (("negative", "prompts", 0, "value"), "60", "not of type 'number'"),
        (("negative", "prompts", 0, "note"), 1, "not of type 'string'"),
        (("negative", "prompts", 0, "bpm"), 60, "'bpm' was unexpected"),
        (("pairing",), "yes", "is not one of ['index', 'none']"),
        (("prompts",), ["music"], "were unexpected"),
        (("author",), "someone", "'author' was unexpected"),
    ],
)
def test_schema_refuses_concept_set(path: tuple[str | int, ...], value: Any, expected: str) -> None:
    errors = schema_errors(planted(CONCEPT_SET, path, value), SCHEMA)
    assert any(expected in error for error in errors), errors


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("concept",), ..., "'concept' is a required property"),
        (("prompts",), [], "non-empty"),
        (("prompts",), "piano music", "not of type 'array'"),
        (("prompts", 0), "  ", "does not match"),
        (("pairing",), "index", "'pairing' was unexpected"),
    ],
)
def test_schema_refuses_neutral_set(path: tuple[str | int, ...], value: Any, expected: str) -> None:
    errors = schema_errors(planted(NEUTRAL_SET, path, value), SCHEMA)
    assert any(expected in error for error in errors), errors


def test_planted_wrong_count() -> None:
    assert count_errors(FAST, 2) == []
    assert count_errors(FAST, 3) == ["2 prompts instead of 3"]


@pytest.mark.parametrize("copy_of", ["fast piano music", "Fast  PIANO music ", "fast\tpiano music"])
def test_planted_duplicate(copy_of: str) -> None:
    assert duplicates(FAST) == []
    assert duplicates([*FAST, copy_of]) == ["2 times: 'fast piano music'"]


@pytest.mark.parametrize(
    ("leak", "word"),
    [
        ("fast piano music, then slow", "slow"),
        ("a DOWN-TEMPO organ tune", "down-tempo"),
        ("fast music, largo", "largo"),
        ("fast music, andante", "andante"),
        ("fast music at a moderate tempo", "moderate"),
    ],
)
def test_planted_leak_of_the_other_side(leak: str, word: str) -> None:
    against = LEXICON.words_against("tempo", "fast")
    assert forbidden_words(FAST, against) == []
    assert forbidden_words([*FAST, leak], against) == [f"{[word]} in {leak!r}"]


@pytest.mark.parametrize("concept", [c for c in SIDES if c != "tempo"])
def test_planted_leak_of_another_concept(concept: str) -> None:
    others = LEXICON.words_of_other_concepts("tempo")
    assert forbidden_words(FAST + SLOW, others) == []
    for phrase in LEXICON.phrases(concept):
        assert forbidden_words([f"fast music, {phrase}"], others), phrase


@pytest.mark.parametrize("concept", SIDES)
def test_planted_concept_in_neutral_prompts(concept: str) -> None:
    all_concepts = LEXICON.words_of_other_concepts(None)
    assert forbidden_words(["piano music with drums"], all_concepts) == []
    for phrase in LEXICON.phrases(concept):
        assert forbidden_words([f"{phrase}, music"], all_concepts), phrase


@pytest.mark.parametrize(
    "prompt", ["piano music", "fast and quick music", "breakfast music", "fast-food music"]
)
def test_planted_missing_or_second_concept_phrase(prompt: str) -> None:
    assert phrase_count_errors([*FAST, "music at a fast tempo"], TEMPO[0]) == []
    assert len(phrase_count_errors([*FAST, prompt], TEMPO[0])) == 1


@pytest.mark.parametrize(
    ("plus", "minus", "expected"),
    [
        ("fast piano music", "slow organ music", "differ in more than the concept"),
        ("fast piano music", "slow piano music, no drums", "differ in more than the concept"),
        ("an up-tempo song", "a down-tempo song", "differ in more than the concept"),
        ("very fast synth music", "adagio synth music", "differ in strength"),
        ("fast synth music", "largo synth music", "'fast' has several opposites"),
    ],
)
def test_planted_uneven_pair(plus: str, minus: str, expected: str) -> None:
    assert pair_errors(FAST, SLOW, TEMPO) == []
    errors = pair_errors([*FAST, plus], [*SLOW, minus], TEMPO)
    assert any(expected in error for error in errors), errors


def test_planted_missing_pair() -> None:
    assert pair_errors(FAST, SLOW[:1], TEMPO) == ["2 positive prompts but 1 negative ones"]


def test_planted_instrument_on_one_side() -> None:
    assert unbalanced_words(FAST, SLOW, TEMPO) == []
    assert unbalanced_words([*FAST, "fast bells"], [*SLOW, "slow piano"], TEMPO) == [
        "'bells': 1 against 0",
        "'piano': 1 against 2",
    ]


def test_order_does_not_unbalance() -> None:
    assert unbalanced_words(FAST, SLOW[::-1], TEMPO) == []


def test_planted_longer_side() -> None:
    assert length_errors(["a b c"] * 20, ["a b c"] * 17 + ["a b"] * 3) == []
    assert length_errors(["a b c"] * 20, ["a b c"] * 16 + ["a b"] * 4) == [
        "mean lengths of 3.00 and 2.80 words"
    ]
    assert length_errors(["a b"], ["a b c"]) != []


def test_planted_uneven_frequencies() -> None:
    two = ["fast", "quick"]
    assert frequency_errors(["fast music"] * 3 + ["quick music"] * 2, two) == []
    assert frequency_errors(["fast music"] * 4 + ["quick music"] * 2, two) != []
    assert frequency_errors(["fast music"] * 3, two) == ["'fast' is used 3 times but 'quick' 0 times"]


def test_planted_phrase_missing_from_the_front() -> None:
    two = ["fast", "quick"]
    assert front_gaps(["fast music", "quick music", "fast tune"], two) == []
    assert front_gaps(["fast music", "fast tune", "quick music"], two) == [
        "'quick' is not among the first 2 prompts"
    ]


def test_planted_unknown_word() -> None:
    assert unknown_words(FAST + SLOW, LEXICON.vocabulary) == []
    assert unknown_words(["fast banjo music"], LEXICON.vocabulary) == ["['banjo'] in 'fast banjo music'"]
    assert unknown_words(["fast upright-piano music"], LEXICON.vocabulary) != []


@pytest.mark.parametrize(
    "prompt", ["a electric organ", "this is an piano song", "A ambient piece", "An beat"]
)
def test_planted_wrong_article(prompt: str) -> None:
    assert wrong_articles(["an organ and a piano", "an up-tempo song", "jazz, a ballad"]) == []
    assert len(wrong_articles([prompt])) == 1


def test_planted_training_prompt_among_neutral_ones() -> None:
    assert shared_prompts(["piano music"], FAST) == []
    assert shared_prompts(["Fast  piano music"], FAST) == ["'Fast  piano music' is in both"]


def test_words_keep_hyphens_and_drop_punctuation() -> None:
    assert words("Up-tempo, hard-hitting: no drums - 1!") == ["up-tempo", "hard-hitting", "no", "drums", "1"]
