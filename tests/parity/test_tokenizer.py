"""The C++ tokenizer gives the ids of Hugging Face `tokenizers`, one for one.

`tokenizers` reads the file as a checkpoint has it, C++ what the exporter makes of it.
"""

import copy
import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from tokenizer_texts import REPO, SENTENCES, all_texts, character_names, prompts
from tokenizers import Tokenizer
from transformers import T5Tokenizer

from musicsteer.torchscript.tokenizer_file import canonical

TEXTS = int(os.environ.get("MUSICSTEER_TOKENIZER_TEXTS", "6500"))
SEED = int(os.environ.get("MUSICSTEER_TOKENIZER_SEED", "7"))

# A character map of our own, for what the shipped ones hardly reach: prefixes of clusters, deletion (also at
# the start), expansion to several words, and characters that take part in the longer cluster rules.
RULES = {
    **{
        "A": "b",
        "A\u0301": "c",
        "e\u0301\u0301": "d",
        "é": "e\u0301",
        "\u0301": "'",
        "q": "one two",
        "w": "i o",
    },
    **{"\u0001": "", "x": "", "🎵": "", "\r": "R", "\n": "N", "\r\n": "RN", "\u200d": "J", "\u0600": "n"},
    **{"™": "TM", "❤": "love", "★": "star", "☃": "snow", "\u1100": "g", "\uac00": "ga", "\u11a8": "t"},
    **{"\u0915": "k", "\u0958": "q", "\u0937": "sh", "\u0995": "k", "\u1000": "ka"},
}


def train(folder: Path, **options: object) -> Path:
    """Trains a SentencePiece model on the test's sentences and has transformers make its tokenizer.json."""
    folder.mkdir(parents=True)
    sentences = SENTENCES * 3 + prompts() + character_names()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(s.replace("\x00", "") for s in sentences),
        model_prefix=str(folder / "spiece"), pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=0.99, hard_vocab_limit=False, num_threads=1, minloglevel=2, **options,
    )  # fmt: skip
    T5Tokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder / "tokenizer.json"


def added_token(content: str, **options: object) -> dict[str, object]:
    """An entry of `added_tokens` that differs from the plain one in `options`."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 0, "content": content, **plain, **options}


# What real files, and older ones, spell otherwise than transformers 5 does.
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def words_then(**options: object) -> Callable[[dict], None]:
    metaspace = {k: v for k, v in (METASPACE | options).items() if v is not None}
    steps = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}
    return lambda d: d.update(pre_tokenizer=steps)


def with_nesting(d: dict) -> None:
    for part, steps in (
        ("normalizer", "normalizers"),
        ("pre_tokenizer", "pretokenizers"),
        ("post_processor", "processors"),
    ):
        d[part] = {"type": "Sequence", steps: [{"type": "Sequence", steps: [d[part]]}]}


def with_tokens(d: dict) -> None:
    d["added_tokens"] += [
        added_token("[both]", lstrip=True, rstrip=True),
        added_token("[WORD]", lstrip=True),
        added_token("Straße", rstrip=True),
        added_token("①②", lstrip=True),
        added_token("ﬁ nal"),
        added_token("<extra_id", rstrip=True),
    ]


def with_every_character(d: dict) -> None:
    """A piece for each character of the normalised texts, so that the ids tell all texts apart."""
    normalizer = Tokenizer.from_str(json.dumps(d)).normalizer
    normal = {c for text in all_texts(TEXTS, SEED) for c in normalizer.normalize_str(text)}
    known = {piece for piece, _ in d["model"]["vocab"]}
    d["model"]["vocab"] += [[c, -12.5] for c in sorted(normal - known)]


def with_ties(d: dict) -> None:
    for entry in d["model"]["vocab"]:
        entry[1] = float(round(entry[1]))


def with_near_ties(d: dict) -> None:
    """Cuts that are equal but for rounding, with scores that serde_json does not read exactly."""
    scores = [-3.6601955890655518, -10.425487518310547, -13.372241973876953]
    for entry in d["model"]["vocab"]:
        entry[1] = scores[min(len(entry[0]), 3) - 1]


def with_costly_pieces(d: dict) -> None:
    """Characters that only longer pieces have, and scores with which an unknown may beat those."""
    for i, entry in enumerate(d["model"]["vocab"]):
        entry[1] += 25
        if len(entry[0]) == 1 and i % 2 == 0:
            entry[0] = f"<gone {i}>"


VARIANTS: dict[str, Callable[[dict], None]] = {
    "old spelling": words_then(prepend_scheme=None, split=None, add_prefix_space=True),
    "old spelling, both": words_then(split=None, add_prefix_space=True, str_rep="▁"),
    "nested sequences": with_nesting,
    "no normalizer": lambda d: d.update(normalizer=None),
    "added tokens": with_tokens,
    "every character": with_every_character,
    "ties": with_ties,
    "near ties": with_near_ties,
    "costly pieces": with_costly_pieces,
    "truncation": lambda d: d.update(
        truncation={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    ),
}


@pytest.fixture(scope="session")
def tokenizer_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every tokenizer.json to compare on, by name."""
    folder = tmp_path_factory.mktemp("tokenizers")
    rules = folder / "rules.tsv"
    spell = lambda text: " ".join(f"{ord(c):X}" for c in text)  # noqa: E731
    rules.write_text("".join(f"{spell(old)}\t{spell(new)}\n" for old, new in RULES.items()))
    files = {
        "nmt_nfkc 2000": train(folder / "a", vocab_size=2000, normalization_rule_name="nmt_nfkc"),
        "nmt_nfkc 500": train(folder / "b", vocab_size=500, normalization_rule_name="nmt_nfkc"),
        "nmt_nfkc_cf 800": train(folder / "c", vocab_size=800, normalization_rule_name="nmt_nfkc_cf"),
        "identity 900": train(folder / "d", vocab_size=900, normalization_rule_name="identity"),
        "own rules 600": train(folder / "e", vocab_size=600, normalization_rule_tsv=str(rules)),
    }
    for base in ("nmt_nfkc 2000", "own rules 600", "nmt_nfkc_cf 800"):
        original = json.loads(files[base].read_text(encoding="utf-8"))
        for name, change in VARIANTS.items():
            if base == "nmt_nfkc_cf 800" and name != "every character":
                continue  # it maps the most characters
            changed = copy.deepcopy(original)
            change(changed)
            path = folder / f"{base}, {name}.json"
            path.write_text(json.dumps(changed, ensure_ascii=False), encoding="utf-8")
            files[path.stem] = path
    shipped = REPO / "models" / "demo" / "tokenizer.json"
    if shipped.exists():
        files["models/demo"] = shipped
    return files


@pytest.fixture(scope="session")
def probe() -> Path:
    build = Path(os.environ.get("MUSICSTEER_BUILD_DIR", REPO / "build"))
    path = build / "tests" / "tokenize_probe"
    if not path.exists():
        pytest.fail(
            f"{path} is not built; build the project (target tokenize_probe), or set MUSICSTEER_BUILD_DIR"
        )
    return path


def cpp_ids(probe: Path, tokenizer: Path, texts: list[str]) -> list[list[int]]:
    """The ids of each text by the C++ tokenizer."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    result = subprocess.run(
        [probe, tokenizer, "-"], input=lines, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="session")
def exported(tokenizer_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a bundle has instead of each of them."""
    folder = tmp_path_factory.mktemp("exported")
    files = {}
    for number, (name, path) in enumerate(tokenizer_files.items()):
        files[name] = folder / f"{number}.json"
        files[name].write_text(canonical(path.read_text(encoding="utf-8")), encoding="utf-8")
    return files


def hf_ids(path: Path, texts: list[str]) -> list[list[int]]:
    """The same by `tokenizers`, as transformers calls it."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def test_ids_equal_tokenizers(
    tokenizer_files: dict[str, Path], exported: dict[str, Path], probe: Path
) -> None:
    texts = all_texts(TEXTS, SEED)
    assert len(set(texts)) >= 5000
    report, compared, differing = [], 0, 0
    for name, path in tokenizer_files.items():
        ours, theirs = cpp_ids(probe, exported[name], texts), hf_ids(path, texts)
        assert len(ours) == len(theirs)
        wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
        compared += len(texts)
        differing += len(wrong)
        for i in wrong[:3]:
            report.append(f"{name}: {texts[i]!a}\n  ours   {ours[i]}\n  theirs {theirs[i]}")
        if wrong:
            report.append(f"{name}: {len(wrong)} of {len(texts)} differ")
    print(f"{compared} comparisons, {len(texts)} texts, {len(tokenizer_files)} tokenizers")
    assert not differing, f"{differing} of {compared} differ:\n" + "\n".join(report[:40])


def test_ids_are_worth_comparing(tokenizer_files: dict[str, Path]) -> None:
    """The reference itself tells texts apart: neither all unknown nor never unknown."""
    texts = all_texts(TEXTS, SEED)
    ids = hf_ids(tokenizer_files["nmt_nfkc 2000"], texts)
    flat = [token for row in ids for token in row]
    assert 0.02 < flat.count(2) / len(flat) < 0.5
    assert len(set(flat)) > 1000


def test_transformers_agrees_with_its_own_file(tokenizer_files: dict[str, Path]) -> None:
    """What the comparison stands on: transformers' T5 tokenizer is its tokenizer.json."""
    path = tokenizer_files["nmt_nfkc 2000"]
    texts = all_texts(TEXTS, SEED)[:500]
    assert T5Tokenizer.from_pretrained(path.parent)(texts)["input_ids"] == hf_ids(path, texts)


def test_tokenizers_reads_a_bundle(tokenizer_files: dict[str, Path], exported: dict[str, Path]) -> None:
    """Its tokenizer is also one for `tokenizers`, but for the last bit of one score in some hundreds."""
    for name, path in tokenizer_files.items():
        ours, theirs = (
            json.loads(Tokenizer.from_file(str(file)).to_str()) for file in (exported[name], path)
        )
        assert ours["added_tokens"] == theirs["added_tokens"]
        scores, expected = ours["model"].pop("vocab"), theirs["model"].pop("vocab")
        assert ours["model"] == theirs["model"]
        assert [piece for piece, _ in scores] == [piece for piece, _ in expected]
        differing = [(x, y) for (_, x), (_, y) in zip(scores, expected, strict=True) if x != y]
        assert len(differing) <= len(scores) / 100
        assert all(math.isclose(x, y, rel_tol=1e-15) for x, y in differing)
        # Readers that round once get exactly the reference's scores.
        assert json.loads(exported[name].read_text(encoding="utf-8"))["model"]["vocab"] == expected
