"""The tokenizer that a bundle gets: normalised spellings, exact scores, and what is refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]

from musicsteer import export_model  # noqa: E402
from musicsteer.torchscript.tokenizer_file import METASPACE, canonical, exact  # noqa: E402

# The demo model's, as transformers 5 wrote it.
ORIGINAL = (ROOT / "models" / "demo" / "tokenizer.json").read_text("utf-8")


def changed(change: Callable[[dict], Any]) -> str:
    """The text of a tokenizer.json with that change."""
    document = json.loads(ORIGINAL)
    change(document)
    return json.dumps(document, ensure_ascii=False)


def words_then(**options: object) -> Callable[[dict], None]:
    metaspace = {k: v for k, v in (METASPACE | options).items() if v is not None}
    steps = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    return lambda d: d.update(pre_tokenizer=steps)


def added_token(content: str, **options: object) -> dict[str, object]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 0, "content": content, **plain, **options}


def in_sequences(part: dict, steps: str) -> dict:
    return {"type": "Sequence", steps: [{"type": "Sequence", steps: [part]}]}


def nested(d: dict) -> None:
    d["normalizer"] = in_sequences(d["normalizer"], "normalizers")
    d["pre_tokenizer"] = in_sequences(d["pre_tokenizer"], "pretokenizers")
    d["post_processor"] = in_sequences(d["post_processor"], "processors")


def as_transformers_4(d: dict) -> None:
    """As its converter wrote T5's tokenizer from spiece.model."""
    d["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            d["normalizer"],
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        ],
    }
    d["pre_tokenizer"] = METASPACE


def squeezed_words(d: dict) -> None:
    as_transformers_4(d)
    words_then()(d)


SAME: dict[str, Callable[[dict], Any]] = {
    "as it is": lambda d: None,
    "older spelling": words_then(prepend_scheme=None, split=None, add_prefix_space=True, str_rep="▁"),
    "nested sequences": nested,
    "by transformers 4": as_transformers_4,
    "by an earlier transformers 4": squeezed_words,
    "no byte_fallback": lambda d: d["model"].pop("byte_fallback"),
    "truncation": lambda d: d.update(
        truncation={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    ),
    "another decoder": lambda d: d.update(decoder=None),
    "a token without text": lambda d: d["added_tokens"].append(added_token("")),
}


@pytest.mark.parametrize("name", SAME)
def test_spellings_of_one_tokenizer(name: str) -> None:
    written = canonical(changed(SAME[name]))
    assert written == canonical(ORIGINAL)
    assert canonical(written) == written
    assert json.loads(Tokenizer.from_str(written).to_str()) == json.loads(
        Tokenizer.from_str(ORIGINAL).to_str()
    )


def random_text(draw: random.Random) -> str:
    """Words, white space of every kind, the metaspace itself, accents, ligatures and special tokens."""
    words = [
        "fast",
        "piano",
        "ﬁne",
        "e\u0301",
        "\u0301",
        "東京",
        "🎵",
        "▁",
        "▁▁",
        "</s>",
        "<unk>",
        "a.b",
        "№5",
    ]
    spaces = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", ""]
    return "".join(draw.choice(words if draw.random() < 0.5 else spaces) for _ in range(draw.randrange(12)))


@pytest.mark.parametrize("change", [as_transformers_4, squeezed_words])
def test_what_transformers_4_wrote_gives_the_same_ids(change: Callable[[dict], None]) -> None:
    theirs, ours = Tokenizer.from_str(changed(change)), Tokenizer.from_str(canonical(changed(change)))
    draw = random.Random(4)
    texts = ["", " ", "  ", "▁", " ▁", *(random_text(draw) for _ in range(20000))]
    wrong = [text for text in texts if theirs.encode(text).ids != ours.encode(text).ids]
    assert not wrong, (len(wrong), wrong[:5])


def test_added_tokens_have_the_ids_of_tokenizers() -> None:
    written = json.loads(canonical(changed(lambda d: d["added_tokens"].append(added_token("<new>")))))
    assert written["added_tokens"][-1] == added_token("<new>", id=len(written["model"]["vocab"]))


def test_the_identity_has_no_normalizer() -> None:
    assert json.loads(canonical(changed(lambda d: d.update(normalizer=None))))["normalizer"] is None


def twice_rounded(text: str) -> float:
    """A decimal as `tokenizers` reads it."""
    whole, _, fraction = text.lstrip("-").partition(".")
    value = float(int(whole + fraction)) / 10.0 ** len(fraction)
    return -value if text.startswith("-") else value


def test_scores_are_exact_for_every_reader() -> None:
    assert [exact(score) for score in (0.0, -1.0, -0.25, 12.5)] == ["0.0", "-1.0", "-0.25", "12.5"]
    scores = [score for _, score in json.loads(ORIGINAL)["model"]["vocab"]]
    assert sum(twice_rounded(repr(score)) != score for score in scores) > 10
    texts = [exact(score) for score in scores]
    assert [float(text) for text in texts] == scores
    assert sum(twice_rounded(text) != score for text, score in zip(texts, scores, strict=True)) < 5
    assert all(
        abs(Fraction(text) - Fraction(score)) < 1e-14 for text, score in zip(texts, scores, strict=True)
    )


# Parts that no T5 tokenizer has, and what the refusal names.
REFUSED: dict[str, tuple[Callable[[dict], Any], str]] = {
    "prepend first": (words_then(prepend_scheme="first"), "a Metaspace with prepend_scheme 'first'"),
    "prepend never": (
        words_then(prepend_scheme="never", add_prefix_space=False),
        "a Metaspace with prepend_scheme 'never'",
    ),
    "uncut": (words_then(split=False), "a Metaspace with split False"),
    "metaspace alone": (lambda d: d.update(pre_tokenizer=METASPACE), "the pre-tokenizer Metaspace,"),
    "no pre-tokenizer": (lambda d: d.update(pre_tokenizer=None), "the pre-tokenizer none"),
    "lowercase": (lambda d: d.update(normalizer={"type": "Lowercase"}), "the normalizer Lowercase"),
    "metaspace alone, not all spaces mapped": (
        lambda d: (as_transformers_4(d), d["normalizer"]["normalizers"].pop(0)),
        "the normalizer Strip + Replace",
    ),
    "squeezed to one space": (
        lambda d: (as_transformers_4(d), d["normalizer"]["normalizers"][2].update(content="x")),
        "the normalizer Precompiled + Strip + Replace",
    ),
    "stripped at the left alone": (
        lambda d: (
            as_transformers_4(d),
            d["normalizer"]["normalizers"][1].update(strip_left=True, strip_right=False),
        ),
        "the normalizer Precompiled + Strip + Replace",
    ),
    "byte level": (
        lambda d: d.update(
            pre_tokenizer={
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            }
        ),
        "the pre-tokenizer ByteLevel",
    ),
    "byte fallback": (lambda d: d["model"].update(byte_fallback=True), "byte_fallback"),
    "no unknown": (lambda d: d["model"].update(unk_id=None), "no unk_id"),
    "no template": (lambda d: d.update(post_processor=None), "the post-processor none"),
    "template": (
        lambda d: d["post_processor"]["single"].insert(0, d["post_processor"]["single"][1]),
        "another template",
    ),
    "template's ids": (
        lambda d: d["post_processor"]["special_tokens"]["</s>"].update(ids=[1, 0], tokens=["</s>", "<pad>"]),
        "another template",
    ),
    "single word": (
        lambda d: d["added_tokens"].append(added_token("[WORD]", single_word=True)),
        "the added token '[WORD]' with single_word",
    ),
    "normalized": (
        lambda d: d["added_tokens"].append(added_token("ﬁ nal", normalized=True)),
        "the added token 'ﬁ nal' with normalized",
    ),
    "BPE": (lambda d: d["model"].update(type="BPE"), "is a BPE tokenizer"),
    "unheard of": (lambda d: d.update(pre_tokenizer={"type": "Guess"}), "cannot be read by tokenizers"),
    "map no base64": (lambda d: d["normalizer"].update(precompiled_charsmap="AB*="), "precompiled_charsmap"),
    "map cut off": (lambda d: d["normalizer"].update(precompiled_charsmap="AAEAAAAA"), "its trie is cut off"),
}


def export(text: str, folder: Path) -> int:
    """Export a checkpoint whose tokenizer is looked at before anything else is missed; the exit code."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "musicgen"}')
    (checkpoint / "tokenizer.json").write_text(text, "utf-8")
    return export_model.main([str(checkpoint), str(folder / "out")])


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_other_tokenizers(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change, named = REFUSED[name]
    assert export(changed(change), tmp_path) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert "tokenizer.json" in captured.err
    assert named in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}', '{"model": {}}', ORIGINAL[:5000]])
def test_refuses_what_is_no_tokenizer(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert export(text, tmp_path) == 1
    error = capfd.readouterr().err
    assert "tokenizer.json is not a tokenizer" in error and error.count("\n") == 1
