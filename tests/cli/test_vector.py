"""`musicsteer vector` end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from program import Runner
from safetensors import safe_open
from safetensors.numpy import load_file

POINT = "decoder.1.resid_post"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return file.metadata()


def expect_refused(musicsteer: Runner, arguments: list[str | Path], code: int, words: str) -> None:
    done = musicsteer("vector", *arguments)
    assert done.code == code, (done.out, done.err)
    assert len(done.err.splitlines()) == 1 and done.errors and done.out == "", done.err
    assert words in done.err, done.err


def test_inspect_of_a_result_is_no_json(musicsteer: Runner, vectors: Path) -> None:
    assert musicsteer("vector", "random", vectors, "--seed", "3", "--out", "r.safetensors").code == 0
    made = ["vector", "orthogonalize", vectors, "r.safetensors", "--out", "o.safetensors"]
    assert musicsteer(*made).code == 0
    of_random = musicsteer("inspect", "r.safetensors").out
    assert "\nmade from         random of tempo.safetensors; seed 3\n" in of_random, of_random
    text = musicsteer("inspect", "o.safetensors").out
    assert "\nmade from         orthogonalize of tempo.safetensors, r.safetensors\n" in text, text
    assert "\nprecision         f32\n" in text and "{" not in text
    assert "0 + 0" not in text and "sha256 \n" not in text


def test_algebra_says_what_it_was_made_of(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    done = musicsteer("vector", "random", vectors, "--seed", "3", "--out", "r.safetensors")
    assert (done.code, done.errors) == (0, [])
    a, r = load_file(vectors), load_file(tmp_path / "r.safetensors")
    assert list(a) == list(r)
    for name in a:
        assert np.isclose(np.linalg.norm(a[name]), np.linalg.norm(r[name]), rtol=1e-5)
    assert musicsteer("vector", "add", vectors, "r.safetensors", "--out", "sum.safetensors").code == 0
    assert musicsteer("vector", "sub", "sum.safetensors", "r.safetensors", "--out", "a.safetensors").code == 0
    back = load_file(tmp_path / "a.safetensors")
    for name in a:
        assert np.allclose(back[name], a[name], atol=1e-5 * np.abs(a[name]).max() + 1e-6)
    made = json.loads(metadata(tmp_path / "a.safetensors")["made_from"])
    assert made["operation"] == "sub"
    assert [source["concept"] for source in made["sources"]] == ["tempo + random-3", "random-3"]
    assert [source["file"] for source in made["sources"][0]["made_from"]["sources"]] == [
        vectors.name,
        "r.safetensors",
    ]
    assert len(made["sources"][0]["sha256"]) == 64
    shown = musicsteer("inspect", "a.safetensors")
    assert "made from" in shown.out and "random-3" in shown.out


def test_scale_normalize_and_cosine(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer("vector", "scale", vectors, "--by", "-2", "--out", "s.safetensors").code == 0
    assert np.allclose(load_file(tmp_path / "s.safetensors")[POINT], -2 * load_file(vectors)[POINT])
    labels = json.loads(metadata(tmp_path / "s.safetensors")["labels"])
    assert labels == {"positive": "slow", "negative": "fast"}
    assert musicsteer("vector", "normalize", vectors, "--out", "n.safetensors").code == 0
    norms = [np.linalg.norm(v) for v in load_file(tmp_path / "n.safetensors").values()]
    assert np.allclose(norms, 1, atol=1e-6)
    done = musicsteer("vector", "cosine", "s.safetensors", "n.safetensors", "--json")
    assert all(abs(cosine + 1) < 1e-6 for cosine in json.loads(done.out).values())
    assert "-1.0000" in musicsteer("vector", "cosine", "s.safetensors", "n.safetensors").out


def test_orthogonalize(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        musicsteer("vector", "random", vectors, "--seed", seed, "--out", f"r{seed}.safetensors")
    others = ["r1.safetensors", "r2.safetensors"]
    assert musicsteer("vector", "orthogonalize", vectors, *others, "--out", "o.safetensors").code == 0
    rest, a = load_file(tmp_path / "o.safetensors")[POINT], load_file(vectors)[POINT]
    basis = np.stack([load_file(tmp_path / name)[POINT] for name in others], axis=1).astype(np.float64)
    expected = a - basis @ np.linalg.lstsq(basis, a.astype(np.float64), rcond=None)[0]
    assert np.allclose(rest, expected, atol=1e-6 * np.abs(a).max())
    expect_refused(
        musicsteer, ["orthogonalize", vectors, vectors, "--out", "x.safetensors"], 1, "point the same way"
    )


def test_bad_arguments(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    out = ["--out", "x.safetensors"]
    expect_refused(musicsteer, [], 2, "a command is missing; expected one of add, sub")
    expect_refused(musicsteer, ["add", vectors, *out], 2, "files")
    expect_refused(musicsteer, ["scale", vectors, "--by", "0", *out], 2, "other than 0")
    expect_refused(musicsteer, ["scale", vectors, "--by", "nan", *out], 2, "not a number")
    expect_refused(musicsteer, ["normalize", vectors, "--norm", "-1", *out], 2, "above 0")
    expect_refused(musicsteer, ["scale", "missing.safetensors", "--by", "2", *out], 1, "missing.safetensors")
    (tmp_path / "x.safetensors").write_text("mine")
    expect_refused(musicsteer, ["scale", vectors, "--by", "2", *out], 1, "--force")
    assert (tmp_path / "x.safetensors").read_text() == "mine"
