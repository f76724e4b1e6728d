"""T5's tokenizer.json, brought into the one shape that a bundle has.

The shape is a subset of the Hugging Face format, so `tokenizers` loads the file of a bundle too.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import Precompiled

METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
END = {"SpecialToken": {"id": "</s>", "type_id": 0}}
# What transformers 4 writes after the character map.
STRIP = {"strip_right": True}
SQUEEZE = {"pattern": {"Regex": " {2,}"}, "content": "▁"}
# All white space of Unicode but U+0085, which T5's map leaves as it is.
SPACES = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
# A power of ten that a double holds exactly.
LARGEST_POWER = 22


class TokenizerError(Exception):
    """The tokenizer is not T5's; the message continues after the file's name."""


def steps(section: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a part of the tokenizer, whose sequences, also nested ones, list theirs under `key`."""
    if section is None:
        return []
    if section["type"] != "Sequence":
        return [section]
    return [step for part in section[key] for step in steps(part, key)]


def check_charsmap(text: str) -> None:
    """Refuse a damaged character map, on which `tokenizers` panics."""
    try:
        charsmap = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise TokenizerError(f"has a damaged precompiled_charsmap: {error}") from error
    trie = int.from_bytes(charsmap[:4], "little")
    if len(charsmap) < 4 or trie == 0 or trie % 4 or trie > len(charsmap) - 4:
        raise TokenizerError("has a damaged precompiled_charsmap: its trie is cut off")


def read(text: str) -> dict[str, Any]:
    """The tokenizer as `tokenizers` has it: older spellings resolved, its ids and its scores."""
    try:
        document = json.loads(text)
        kind = document["model"]["type"]
        for step in steps(document.get("normalizer"), "normalizers"):
            if step["type"] == "Precompiled":
                check_charsmap(step["precompiled_charsmap"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TokenizerError(f"is not a tokenizer: {type(error).__name__}: {error}") from error
    if kind != "Unigram":
        raise TokenizerError(f"is a {kind} tokenizer, not T5's Unigram")
    try:
        return json.loads(Tokenizer.from_str(text).to_str())
    except Exception as error:  # tokenizers raises nothing more specific
        raise TokenizerError(f"cannot be read by tokenizers: {error}") from error


def refuse(found: str, expected: str) -> None:
    """Refuse a shape that is not T5's."""
    raise TokenizerError(
        f"has {found}, where T5 has {expected}; load it with transformers' T5Tokenizer and save it again"
    )


def check_steps(part: str, found: list[dict[str, Any]], expected: list[str]) -> None:
    """Refuse other steps than the expected ones."""
    names = [step["type"] for step in found]
    if names != expected:
        refuse(f"the {part} {' + '.join(names) or 'none'}", " + ".join(expected))


def end_id(document: dict[str, Any]) -> int | None:
    """The id of </s>; of equal pieces the last one counts."""
    return {piece: i for i, (piece, _) in enumerate(document["model"]["vocab"])}.get("</s>")


def leaves_plain_spaces(normalizer: dict[str, Any]) -> bool:
    """Whether no text keeps white space but " ", nor a "▁", behind the character map (U+0085 aside).

    What the map puts in holds none, and what is one by itself is replaced by it.
    """
    charsmap = base64.b64decode(normalizer["precompiled_charsmap"])
    put_in = charsmap[4 + int.from_bytes(charsmap[:4], "little") :].decode("utf-8", "replace")
    forbidden = set(SPACES.replace(" ", "") + "▁")
    alone = Precompiled(charsmap)
    return not forbidden & set(put_in) and all(
        not forbidden & set(alone.normalize_str(character)) for character in forbidden
    )


def squeezes_spaces(normalizers: list[dict[str, Any]]) -> bool:
    """Whether spaces are cut at the end and runs of them made one "▁", as transformers 4 wrote it.

    Metaspace, which follows, then cuts the text where WhitespaceSplit would: every "▁" stands for white
    space, and no two are neighbours. So the bundle's shape gives the same ids.
    """
    if [step["type"] for step in normalizers] != ["Precompiled", "Strip", "Replace"]:
        return False
    charsmap, strip, squeeze = normalizers
    return (
        STRIP.items() <= strip.items()
        and SQUEEZE.items() <= squeeze.items()
        and leaves_plain_spaces(charsmap)
    )


def check_shape(document: dict[str, Any]) -> None:
    """Refuse, by name, what T5's tokenizer does not have.

    Raises:
        TokenizerError: for a part that is not T5's.
    """
    normalizers = steps(document["normalizer"], "normalizers")
    squeezed = squeezes_spaces(normalizers)
    if normalizers and not squeezed:  # the identity has none
        check_steps("normalizer", normalizers, ["Precompiled"])
    pre_tokenizers = steps(document["pre_tokenizer"], "pretokenizers")
    if not (squeezed and [step["type"] for step in pre_tokenizers] == ["Metaspace"]):
        check_steps("pre-tokenizer", pre_tokenizers, ["WhitespaceSplit", "Metaspace"])
    for key, value in METASPACE.items():
        if pre_tokenizers[-1][key] != value:
            refuse(f"a Metaspace with {key} {pre_tokenizers[-1][key]!r}", repr(value))
    processors = steps(document["post_processor"], "processors")
    check_steps("post-processor", processors, ["TemplateProcessing"])
    ends = [token["ids"] for token in processors[0]["special_tokens"].values()]
    if processors[0]["single"] != [TEXT, END] or ends != [[end_id(document)]]:
        refuse("another template", "a text and its </s>")
    if document["model"]["unk_id"] is None:
        refuse("no unk_id", "<unk>")
    if document["model"].get("byte_fallback"):
        refuse("byte_fallback", "none")
    for token in document["added_tokens"]:
        for flag in ("single_word", "normalized"):
            if token[flag]:
                refuse(f"the added token {token['content']!r} with {flag}", "none")


def exact(score: float) -> str:
    """A decimal that readers turn into exactly this double.

    `tokenizers` reads digits as an integer, rounds it, divides by a power of ten and rounds again. Where an
    integer that needs no rounding gives the score, the two agree with a reader that rounds once; one score in
    some hundreds has none, and `tokenizers` may read it one bit off.
    """
    for places in range(1, LARGEST_POWER + 1):
        digits = round(abs(score) * 10.0**places)
        if digits >= 2**64:
            break
        if float(digits) == digits and digits / 10**places == abs(score):
            text = f"{digits:0{places + 1}d}"
            return f"{'-' if score < 0 else ''}{text[:-places]}.{text[-places:]}"
    return repr(score)


def canonical(text: str) -> str:
    """The text of tokenizer.json in the shape that a bundle has.

    Raises:
        TokenizerError: it is damaged, or has another shape than T5's tokenizer.
    """
    document = read(text)
    check_shape(document)
    model = document["model"]
    shape = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": document["added_tokens"],
        "normalizer": next(iter(steps(document["normalizer"], "normalizers")), None),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [TEXT, END],
            "pair": [TEXT, END, {"Sequence": {"id": "B", "type_id": 0}}, END],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [end_id(document)], "tokens": ["</s>"]}},
        },
        "decoder": METASPACE,
        "model": {"type": "Unigram", "unk_id": model["unk_id"], "vocab": None, "byte_fallback": False},
    }
    vocab = [f"[{json.dumps(piece, ensure_ascii=False)}, {exact(score)}]" for piece, score in model["vocab"]]
    listed = '"vocab": [\n' + ",\n".join(f"      {entry}" for entry in vocab) + "\n    ]"
    # Within texts the quotes are escaped, so this is the key.
    return json.dumps(shape, ensure_ascii=False, indent=2).replace('"vocab": null', listed) + "\n"
