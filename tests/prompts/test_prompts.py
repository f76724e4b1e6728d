"""The shipped prompt sets hold what prompts/README.md promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
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
    texts,
    unbalanced_words,
    unknown_words,
    wrong_articles,
)

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ROOT / "prompts"
COUNTS = {"tempo": 100, "brightness": 100, "mood": 50, "energy": 50, "density": 50}
NEUTRAL_COUNT = 64


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SCHEMA = load(PROMPTS / "schema.json")
LEXICON = Lexicon(load(ROOT / "scripts" / "demo_model" / "lexicon.json"))
SETS = {path.stem: load(path) for path in sorted(PROMPTS.glob("*.json")) if path.name != "schema.json"}
SHIPPED_SIDES = [(concept, sign) for concept in COUNTS for sign in ("positive", "negative")]


def side(concept: str, sign: str) -> list[str]:
    return texts(SETS[concept][sign]["prompts"])


def group(concept: str, sign: str) -> str:
    """The lexicon's name of a side."""
    return SIDES[concept][0 if sign == "positive" else 1]


def phrases(concept: str, sign: str) -> list[str]:
    return LEXICON.groups[concept][group(concept, sign)]


def both_phrases(concept: str) -> tuple[list[str], list[str]]:
    return phrases(concept, "positive"), phrases(concept, "negative")


def neutral() -> list[str]:
    return texts(SETS["neutral"]["prompts"])


def test_all_sets_are_there() -> None:
    assert {*COUNTS, "neutral"} <= SETS.keys()
    assert COUNTS.keys() == SIDES.keys()


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_schema_explains_itself() -> None:
    undocumented = [name for name, node in SCHEMA["$defs"].items() if not node.keys() >= {"title"}]
    for name in ("concept_set", "neutral_set", "side"):
        for key, node in SCHEMA["$defs"][name]["properties"].items():
            target = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else {}
            if "description" not in {**target, **node}:
                undocumented.append(f"{name}.{key}")
    assert undocumented == []


@pytest.mark.parametrize("name", SETS)
def test_set_follows_the_schema(name: str) -> None:
    assert schema_errors(SETS[name], SCHEMA) == []
    assert SETS[name]["concept"] == name
    assert SETS[name]["$schema"] == "./schema.json"
    assert SETS[name]["description"]


@pytest.mark.parametrize("concept", COUNTS)
def test_labels_differ(concept: str) -> None:
    labels = [SETS[concept][sign]["label"] for sign in ("positive", "negative")]
    assert labels[0] != labels[1]
    for sign, label in zip(("positive", "negative"), labels, strict=True):
        assert label in phrases(concept, sign)


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_count(concept: str, sign: str) -> None:
    assert count_errors(side(concept, sign), COUNTS[concept]) == []


def test_neutral_count() -> None:
    assert count_errors(neutral(), NEUTRAL_COUNT) == []


def test_no_duplicates_within_or_across_sets() -> None:
    everything = [p for concept, sign in SHIPPED_SIDES for p in side(concept, sign)] + neutral()
    assert duplicates(everything) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_no_words_of_the_other_side(concept: str, sign: str) -> None:
    against = LEXICON.words_against(concept, group(concept, sign))
    opposite = SETS[concept]["negative" if sign == "positive" else "positive"]["label"]
    assert forbidden_words(side(concept, sign), against | {opposite}) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_no_words_of_other_concepts(concept: str, sign: str) -> None:
    assert forbidden_words(side(concept, sign), LEXICON.words_of_other_concepts(concept)) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_each_prompt_says_its_concept_once(concept: str, sign: str) -> None:
    assert phrase_count_errors(side(concept, sign), phrases(concept, sign)) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_concept_phrases_are_used_equally(concept: str, sign: str) -> None:
    assert frequency_errors(side(concept, sign), phrases(concept, sign)) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_a_set_cut_from_the_front_has_every_phrase(concept: str, sign: str) -> None:
    assert front_gaps(side(concept, sign), phrases(concept, sign)) == []


@pytest.mark.parametrize("concept", COUNTS)
def test_pairs_differ_in_the_concept_alone(concept: str) -> None:
    assert SETS[concept]["pairing"] == "index"
    positive, negative = side(concept, "positive"), side(concept, "negative")
    assert pair_errors(positive, negative, both_phrases(concept)) == []


@pytest.mark.parametrize("concept", COUNTS)
def test_sides_are_balanced(concept: str) -> None:
    positive, negative = side(concept, "positive"), side(concept, "negative")
    assert unbalanced_words(positive, negative, both_phrases(concept)) == []
    assert length_errors(positive, negative) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_prompts_use_the_lexicon(concept: str, sign: str) -> None:
    assert unknown_words(side(concept, sign), LEXICON.vocabulary) == []
    assert wrong_articles(side(concept, sign)) == []


def test_neutral_prompts_are_neutral() -> None:
    labels = {SETS[concept][sign]["label"] for concept, sign in SHIPPED_SIDES}
    assert forbidden_words(neutral(), LEXICON.words_of_other_concepts(None) | labels) == []
    assert unknown_words(neutral(), LEXICON.vocabulary) == []
    assert wrong_articles(neutral()) == []


@pytest.mark.parametrize(("concept", "sign"), SHIPPED_SIDES)
def test_neutral_prompts_are_not_training_prompts(concept: str, sign: str) -> None:
    assert shared_prompts(neutral(), side(concept, sign)) == []


def test_example_in_the_readme_follows_the_schema() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (PROMPTS / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        assert schema_errors(json.loads(block), SCHEMA) == []
