"""`musicsteer vector` end to end."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from program import Runner
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_numpy

POINT = "decoder.1.resid_post"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return file.metadata()


def expect_refused(musicsteer: Runner, arguments: list[str | Path], code: int, words: str) -> None:
    done = musicsteer("vector", *arguments)
    assert done.code == code, (done.out, done.err)
    assert len(done.err.splitlines()) == 1 and done.errors and done.out == "", done.err
    assert words in done.err, done.err


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


def test_npz_is_read_by_numpy(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer("vector", "export", vectors, "--out", "v.npz").code == 0
    with np.load(tmp_path / "v.npz") as arrays:
        expected = load_file(vectors)
        assert sorted(arrays.files) == sorted([*expected, "metadata"])
        for name, vector in expected.items():
            assert arrays[name].dtype == np.float32 and (arrays[name] == vector).all()
        assert json.loads(arrays["metadata"].item())["concept"] == "tempo"
    first = (tmp_path / "v.npz").read_bytes()
    assert musicsteer("vector", "export", vectors, "--out", "v.npz", "--force").code == 0
    assert (tmp_path / "v.npz").read_bytes() == first


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.bfloat16])
def test_pt_becomes_a_vector_file(
    musicsteer: Runner, bundle: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    block = torch.randn(3, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    column = torch.nn.Parameter(torch.arange(96.0).view(48, 2).to(dtype)[:, 1])  # strided
    torch.save({0: block[0], "decoder.1.mlp_out": block[2], 2: column}, tmp_path / "v.pt")
    importing = ["import", "v.pt", "--model", bundle, "--concept", "mood", "--positive", "glad"]
    done = musicsteer("vector", *importing, "--out", "v.safetensors")
    assert (done.code, done.errors) == (0, [])
    found = load_file(tmp_path / "v.safetensors")
    assert sorted(found) == ["decoder.0.resid_post", "decoder.1.mlp_out", "decoder.2.resid_post"]
    assert (found["decoder.0.resid_post"] == block[0].float().numpy()).all()
    assert (found["decoder.1.mlp_out"] == block[2].float().numpy()).all()
    assert (found["decoder.2.resid_post"] == column.detach().float().numpy()).all()
    made = metadata(tmp_path / "v.safetensors")
    assert made["concept"] == "mood" and json.loads(made["made_from"])["sources"][0]["file"] == "v.pt"


def test_safetensors_of_others(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    save_numpy({"2": np.ones(48, np.float32)}, tmp_path / "theirs.safetensors")
    arguments = ["vector", "import", "theirs.safetensors", "--model", bundle, "--out", "v.safetensors"]
    assert musicsteer(*arguments).code == 0
    assert list(load_file(tmp_path / "v.safetensors")) == ["decoder.2.resid_post"]
    expect_refused(
        musicsteer, ["import", vectors, "--model", bundle, "--out", "w.safetensors"], 1, "needs no import"
    )


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_a_malicious_pickle_is_refused_and_not_run(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({0: torch.ones(48), 1: Malicious(canary)}, tmp_path / "v.pt")
    arguments = ["import", "v.pt", "--model", bundle, "--out", "v.safetensors"]
    expect_refused(musicsteer, arguments, 1, "posix.system")
    assert not canary.exists() and not (tmp_path / "v.safetensors").exists()
    torch.load(tmp_path / "v.pt", weights_only=False)
    assert canary.exists(), "the pickle is harmless: the test would prove nothing"


def write(path: Path, what: str) -> None:
    """One of the files that are refused."""
    vector = torch.ones(48)
    if what == "legacy":
        torch.save({0: vector}, path, _use_new_zipfile_serialization=False)
    elif what == "pickle":
        path.write_bytes(pickle.dumps({0: [1.0]}))
    elif what == "text":
        path.write_text("no archive")
    elif what == "cut":
        torch.save({0: vector}, path)
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "missing":
        return
    else:
        torch.save(
            {
                "list": [vector],
                "tensor": vector,
                "nested": {0: {1: vector}},
                "text value": {0: "x"},
                "integers": {0: torch.ones(48, dtype=torch.long)},
                "matrix": {0: torch.ones(2, 48)},
                "width": {0: torch.ones(47)},
                "layer": {3: vector},
                "negative": {-1: vector},
                "name": {"layer0": vector},
                "nan": {0: vector * float("nan")},
                "empty": {},
            }[what],
            path,
        )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("legacy", "save it again with torch.save"),
        ("pickle", "save it again with torch.save"),
        ("text", "no file of torch.save"),
        ("cut", "damaged"),
        ("missing", "v.pt"),
        ("list", "more than a dict of tensors"),
        ("tensor", "no dict of tensors"),
        ("nested", "is no tensor"),
        ("text value", "is no tensor"),
        ("integers", "LongStorage"),
        ("matrix", "expected a vector [D], found [2, 48]"),
        ("width", "expected [48]"),
        ("layer", "layers 0 to 2"),
        ("negative", "layers 0 to 2"),
        ("name", "layer's number or a hook point"),
        ("nan", "not finite"),
        ("empty", "holds no vectors"),
    ],
)
def test_bad_imports(musicsteer: Runner, bundle: Path, tmp_path: Path, what: str, words: str) -> None:
    write(tmp_path / "v.pt", what)
    expect_refused(musicsteer, ["import", "v.pt", "--model", bundle, "--out", "v.safetensors"], 1, words)
    assert not (tmp_path / "v.safetensors").exists()


def test_a_storage_that_lies_about_its_size_is_refused(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    torch.save({0: torch.ones(48)}, tmp_path / "v.pt")
    original = (tmp_path / "v.pt").read_bytes()
    # BININT1 48 is both the tensor's size and its storage's; zip's checksum of data.pkl has to be kept right.
    with torch.serialization._open_zipfile_reader(str(tmp_path / "v.pt")) as reader:
        pickled = reader.get_record("data.pkl")
    lying = pickled.replace(b"K0", b"K1")
    assert lying != pickled
    writer = torch._C.PyTorchFileWriter(str(tmp_path / "w.pt"))
    writer.write_record("data.pkl", lying, len(lying))
    data = torch.ones(48).numpy().tobytes()
    writer.write_record("data/0", data, len(data))
    writer.write_end_of_file()
    assert original
    arguments = ["import", "w.pt", "--model", bundle, "--out", "v.safetensors"]
    expect_refused(musicsteer, arguments, 1, "lie outside")


def test_bad_arguments(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    out = ["--out", "x.safetensors"]
    expect_refused(musicsteer, [], 2, "subcommand")
    expect_refused(musicsteer, ["add", vectors, *out], 2, "files")
    expect_refused(musicsteer, ["scale", vectors, "--by", "0", *out], 2, "other than 0")
    expect_refused(musicsteer, ["scale", vectors, "--by", "nan", *out], 2, "finite")
    expect_refused(musicsteer, ["normalize", vectors, "--norm", "-1", *out], 2, "above 0")
    expect_refused(musicsteer, ["export", vectors, *out], 2, ".npz")
    expect_refused(musicsteer, ["scale", "missing.safetensors", "--by", "2", *out], 1, "missing.safetensors")
    (tmp_path / "x.safetensors").write_text("mine")
    expect_refused(musicsteer, ["scale", vectors, "--by", "2", *out], 1, "--force")
    assert (tmp_path / "x.safetensors").read_text() == "mine"
