"""musicsteer import: what others save becomes vector files that the program steers by."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from program import Outcome, Runner
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.torch import save_file

from musicsteer import import_vectors

BLOCK = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
POINTS = [f"decoder.{layer}.resid_post" for layer in range(3)]
SHORT = ["--duration", "0.1", "--threads", "1"]


def importing(folder: Path, *arguments: str | Path) -> Outcome:
    """The script in this process, as a process of its own spends seconds on loading torch."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = import_vectors.main([str(argument) for argument in arguments])
    except SystemExit as end:  # of argparse
        code = int(end.code or 0)
    finally:
        os.chdir(before)
    return Outcome(code, out.getvalue(), err.getvalue())


def imported(folder: Path, *arguments: str | Path) -> dict[str, np.ndarray]:
    done = importing(folder, *arguments, "out.safetensors")
    assert (done.code, done.err) == (0, ""), done.err
    return load_file(folder / "out.safetensors")


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return file.metadata()


def gguf_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """A GGUF file of version 3 by hand: header, one key, tensor infos, data aligned to 32 bytes."""

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    start = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    start += text("general.architecture") + struct.pack("<I", 8) + text("controlvector")
    data = b""
    for name, array in tensors.items():
        start += text(name) + struct.pack("<IQIQ", 1, array.size, 0, len(data))
        data += array.astype("<f4").tobytes() + b"\0" * (-4 * array.size % 32)
    return start + b"\0" * (-len(start) % 32) + data


def test_the_script_by_itself(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "musicsteer.import_vectors"]
    shown = subprocess.run([*script, "--help"], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0 and "musicsteer import theirs.pt mood.safetensors" in shown.stdout
    torch.save({0: HugeBytes()}, tmp_path / "v.pt")
    done = subprocess.run([*script, "v.pt", "x"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "far more memory" in done.stderr
    assert not (tmp_path / "x").exists()


def layers(*rows: int) -> dict[int, torch.Tensor]:
    return {row: BLOCK[row] for row in rows}


def test_every_form_of_torch_save(tmp_path: Path) -> None:
    forms: dict[str, Any] = {
        "layers": layers(0, 2),
        "text": {"0": BLOCK[0], "2": BLOCK[2]},
        "rows": {layer: vector[None] for layer, vector in layers(0, 2).items()},
        "words": {"layer_0": BLOCK[0], "layer_2": BLOCK[2]},
        "modules": {"model.layers.0": BLOCK[0], "model.layers.2": BLOCK[2]},
        "points": {"decoder.0.resid_post": BLOCK[0], "blocks.2.hook_resid_post": BLOCK[2]},
        "strided": {0: torch.nn.Parameter(BLOCK[:1].T.expand(48, 2).contiguous()[:, 1]), 2: BLOCK[2]},
    }
    for name, form in forms.items():
        torch.save(form, tmp_path / "v.pt")
        found = imported(tmp_path, "v.pt", "--force")
        assert list(found) == [POINTS[0], POINTS[2]], name
        assert all((found[POINTS[row]] == BLOCK[row].numpy()).all() for row in (0, 2)), name


def test_a_row_for_each_layer_and_one_vector(tmp_path: Path) -> None:
    for name, form in {"matrix": BLOCK, "list": list(BLOCK), "named": {"directions": BLOCK}}.items():
        torch.save(form, tmp_path / f"{name}.pt")
        found = imported(tmp_path, f"{name}.pt", "--force")
        assert list(found) == POINTS and (np.stack(list(found.values())) == BLOCK.numpy()).all(), name
    for form in (BLOCK[1], BLOCK[1:2], {"v": BLOCK[1]}):
        torch.save(form, tmp_path / "one.pt")
        found = imported(tmp_path, "one.pt", "--layer", "1", "--site", "mlp_out", "--force")
        assert list(found) == ["decoder.1.mlp_out"]
        assert (found["decoder.1.mlp_out"] == BLOCK[1].numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_types_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({0: BLOCK[0].to(dtype)}, tmp_path / "v.pt")
    save_file({"layer.0": BLOCK[0].to(dtype)}, tmp_path / "v.safetensors")
    expected = BLOCK[0].to(dtype).float().numpy()
    for name in ("v.pt", "v.safetensors"):
        assert (imported(tmp_path, name, "--force")[POINTS[0]] == expected).all()


def test_safetensors_and_arrays(tmp_path: Path) -> None:
    save_file({"0": BLOCK[0], "layer_1": BLOCK[1:2]}, tmp_path / "v.safetensors")
    np.savez(tmp_path / "v.npz", **{"0": BLOCK[0].numpy(), "1": BLOCK[1].numpy()})
    np.savez_compressed(tmp_path / "w.npz", **{"0": BLOCK[0].numpy(), "1": BLOCK[1].numpy()})
    for name in ("v.safetensors", "v.npz", "w.npz"):
        found = imported(tmp_path, name, "--force")
        assert list(found) == POINTS[:2] and (found[POINTS[1]] == BLOCK[1].numpy()).all(), name
    np.save(tmp_path / "v.npy", BLOCK.numpy())
    assert list(imported(tmp_path, "v.npy", "--force")) == POINTS


def test_a_header_of_any_length_is_one_of_safetensors(tmp_path: Path) -> None:
    for length in range(72, 72 + 256, 8):  # 128 begins as a pickle does
        header = json.dumps({"0": {"dtype": "F32", "shape": [48], "data_offsets": [0, 192]}}).encode()
        content = struct.pack("<Q", length) + header.ljust(length) + BLOCK[0].numpy().tobytes()
        (tmp_path / "v.safetensors").write_bytes(content)
        assert list(imported(tmp_path, "v.safetensors", "--force")) == POINTS[:1], length


def test_our_old_export_keeps_what_it_knew(tmp_path: Path) -> None:
    known = {
        "musicsteer": '{"format":"musicsteer-vectors"}',
        "concept": "tempo",
        "labels": '{"negative":"slow","positive":"fast"}',
        "model": "tiny",
        "weights_sha256": "ab" * 32,
        "num_layers": "3",
        "hidden_size": "48",
    }
    np.savez(
        tmp_path / "v.npz",
        metadata=np.array(json.dumps(known).encode()),
        **{POINTS[0]: BLOCK[0].numpy()},
    )
    assert list(imported(tmp_path, "v.npz")) == [POINTS[0]]
    found = metadata(tmp_path / "out.safetensors")
    assert json.loads(found["labels"]) == {"negative": "slow", "positive": "fast"}
    for key in ("concept", "model", "weights_sha256", "num_layers", "hidden_size"):
        assert found[key] == known[key]


def test_control_vectors_of_llama_cpp(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    vectors = {"direction.1": BLOCK[1].numpy(), "direction.2": BLOCK[2].numpy()}
    (tmp_path / "v.gguf").write_bytes(gguf_bytes(vectors))
    found = imported(tmp_path, "v.gguf")
    assert list(found) == POINTS[1:]
    assert (found[POINTS[2]] == BLOCK[2].numpy()).all()
    (tmp_path / "model.gguf").write_bytes(gguf_bytes({"token_embd.weight": BLOCK[0].numpy()}))
    assert "is it a model?" in importing(tmp_path, "model.gguf", "x.safetensors").err
    (tmp_path / "cut.gguf").write_bytes(gguf_bytes(vectors)[:-300])
    assert "damaged GGUF" in importing(tmp_path, "cut.gguf", "x.safetensors").err


def test_features_of_sparse_autoencoders(tmp_path: Path) -> None:
    decoder = torch.randn(100, 48, generator=torch.Generator().manual_seed(1))
    for name in ("sae_weights.safetensors", "sae.safetensors"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / "cfg.json").write_text('{"d_in": 48, "d_sae": 100}')
        save_file({"W_dec": decoder, "W_enc": decoder.T.contiguous(), "b_dec": BLOCK[0]}, folder / name)
        found = imported(tmp_path, folder.name, "--feature", "99", "--layer", "2", "--force")
        assert list(found) == [POINTS[2]] and (found[POINTS[2]] == decoder[99].numpy()).all()
        made = json.loads(metadata(tmp_path / "out.safetensors")["made_from"])
        assert made["settings"] == {"feature": 99} and made["sources"][0]["file"] == name
    save_file({"decoder.weight": decoder.T.contiguous()}, tmp_path / "linear.safetensors")
    found = imported(tmp_path, "linear.safetensors", "--feature", "7", "--layer", "0", "--force")
    assert (found[POINTS[0]] == decoder[7].numpy()).all()
    for arguments, words in (
        (["sae"], "choose a direction with --feature N"),
        (["sae", "--feature", "100", "--layer", "0"], "has features 0 to 99, not 100"),
    ):
        assert words in importing(tmp_path, *arguments, "x.safetensors").err
    done = importing(tmp_path, "sae", "x.safetensors", "--feature", "1")
    assert (done.code, done.err) == (1, "error: sae: a feature of which layer? give --layer N\n")


@pytest.mark.parametrize(
    ("config", "point"),
    [
        ({"hook_layer": 2}, "decoder.2.resid_post"),
        ({"hook_point_layer": 1, "hook_point": "blocks.1.hook_resid_pre"}, "decoder.1.resid_pre"),
        ({"hook_name": "blocks.2.hook_resid_post"}, "decoder.2.resid_post"),
        ({"metadata": {"hook_name": "blocks.0.hook_resid_pre"}}, "decoder.0.resid_pre"),
    ],
)
def test_the_config_of_an_autoencoder_names_the_layer(tmp_path: Path, config: dict, point: str) -> None:
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps({"d_in": 48} | config))
    save_file({"W_dec": torch.ones(100, 48)}, tmp_path / "sae" / "sae_weights.safetensors")
    assert list(imported(tmp_path, "sae", "--feature", "9")) == [point]
    typed = ["--layer", "1", "--site", "mlp_out", "--force"]
    assert list(imported(tmp_path, "sae", "--feature", "9", *typed)) == ["decoder.1.mlp_out"]


def test_metadata_says_where_it_is_from(bundle: Path, tmp_path: Path) -> None:
    torch.save(layers(0, 1), tmp_path / "v.pt")
    imported(tmp_path, "v.pt", "--concept", "mood", "--positive", "glad", "--model", bundle)
    found = metadata(tmp_path / "out.safetensors")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert found["concept"] == "mood" and json.loads(found["labels"])["positive"] == "glad"
    assert found["weights_sha256"] == manifest["model"]["weights_sha256"] and found["num_layers"] == "3"
    digest = hashlib.sha256((tmp_path / "v.pt").read_bytes()).hexdigest()
    source = {"file": "v.pt", "sha256": digest}
    assert json.loads(found["made_from"]) == {"operation": "import", "sources": [source]}
    assert json.loads(found["layers"])[POINTS[0]]["norm"] == pytest.approx(BLOCK[0].norm().item())
    first = (tmp_path / "out.safetensors").read_bytes()
    imported(tmp_path, "v.pt", "--concept", "mood", "--positive", "glad", "--model", bundle, "--force")
    assert (tmp_path / "out.safetensors").read_bytes() == first


def test_an_imported_vector_steers_as_the_native_one(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    native = load_file(vectors)
    torch.save({name: torch.from_numpy(native[name]) for name in POINTS}, tmp_path / "v.pt")
    imported(tmp_path, "v.pt", "--model", bundle)
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT, "--alpha", "4"]
    for name, file in (("native", vectors), ("theirs", "out.safetensors")):
        done = musicsteer(*base, "--site", "resid_post", "--steer", file, "--out", f"{name}.wav")
        assert (done.code, "other weights" in done.err) == (0, False), done.err
    assert (tmp_path / "native.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()


def test_without_a_bundle_it_steers_with_a_warning(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    torch.save(layers(0, 1), tmp_path / "v.pt")  # of three layers
    imported(tmp_path, "v.pt")
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT, "--steer", "out.safetensors"]
    done = musicsteer(*base, "--out", "a.wav")
    assert done.code == 0 and "weights" in done.err, done.err
    done = musicsteer(*base, "--strategy", "single", "--out", "b.wav")
    assert done.code == 2 and "name the source layer (--source-layer)" in done.err
    assert musicsteer(*base, "--strategy", "single", "--source-layer", "1", "--out", "b.wav").code == 0
    shown = musicsteer("inspect", "out.safetensors")
    assert shown.code == 0 and " 0.00 " not in shown.out, shown.out


def test_generate_says_what_a_foreign_file_is(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    save_file({"0": BLOCK[0]}, tmp_path / "theirs.safetensors")
    (tmp_path / "gguf.safetensors").write_bytes(gguf_bytes({"direction.1": BLOCK[1].numpy()}))
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT, "--out", "a.wav", "--steer"]
    for name, words in (
        ("theirs", "'musicsteer import'"),
        ("gguf", "a GGUF file; 'musicsteer import'"),
        ("lfs", "a Git LFS pointer; fetch the file"),
    ):
        done = musicsteer(*base, f"{name}.safetensors")
        assert done.code == 1 and words in done.err, done.err


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({0: BLOCK[0], 1: Malicious(canary)}, tmp_path / "v.pt")
    done = importing(tmp_path, "v.pt", "x.safetensors")
    assert done.code == 1 and "'posix.system', which is code and is not run" in done.err, done.err
    assert not canary.exists() and not (tmp_path / "x.safetensors").exists()
    torch.load(tmp_path / "v.pt", weights_only=False)
    assert canary.exists(), "the pickle is harmless: the test would prove nothing"


class HugeBytes:
    """4 TiB when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return bytearray, (1 << 42,)


def lying_storage(path: Path) -> None:
    """A tensor and its storage of 49 numbers, where the archive has 48."""
    torch.save({0: torch.ones(48)}, path)
    with torch.serialization._open_zipfile_reader(str(path)) as reader:
        pickled = reader.get_record("data.pkl")
    lying = pickled.replace(b"K0", b"K1")  # BININT1 48
    assert lying != pickled
    data = torch.ones(48).numpy().tobytes()
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.write_record("data.pkl", lying, len(lying))
    writer.write_record("data/0", data, len(data))
    writer.write_end_of_file()


def lying_array(path: Path) -> None:
    """An array of 8 TB by its header."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def zip_bomb(path: Path) -> None:
    """An array that takes a thousand times the file's size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0.npy", "w") as file:
        for _ in range(400):
            file.write(bytes(1 << 20))


def write(path: Path, what: str) -> None:
    """One of the files that are refused."""
    vector = BLOCK[0]
    files: dict[str, Any] = {
        "lfs": lambda: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "html": lambda: path.write_text("<!DOCTYPE html><html></html>"),
        "legacy": lambda: torch.save({0: vector}, path, _use_new_zipfile_serialization=False),
        "pickle": lambda: path.write_bytes(pickle.dumps({0: [1.0]})),
        "text": lambda: path.write_text("no archive at all"),
        "nothing": lambda: path.write_bytes(b""),
        "cut": lambda: (torch.save({0: vector}, path), path.write_bytes(path.read_bytes()[:-40])),
        "missing": lambda: None,
        "lying storage": lambda: lying_storage(path),
        "lying array": lambda: lying_array(path),
        "zip bomb": lambda: zip_bomb(path),
        "objects": lambda: np.savez(path.open("wb"), **{"0": np.array([{}], object)}),
        "ours": lambda: save_file({"0": vector}, path, {"musicsteer": "{}"}),
    }
    saved = {
        "expanded": {0: torch.ones(1).expand(1 << 40)},
        "huge bytes": {0: HugeBytes()},
        "code": {0: vector, 1: torch.nn.Linear(2, 2)},
        "one": vector,
        "nested": {0: {1: vector}},
        "text value": {0: "x"},
        "tuple key": {(0, 1): vector},
        "integers": {0: torch.ones(48, dtype=torch.long)},
        "matrix": {0: torch.ones(2, 48), 1: vector},
        "cube": torch.ones(2, 2, 48),
        "widths": {0: vector, 1: torch.ones(47)},
        "sparse": {0: vector.to_sparse()},
        "layer": {1024: vector},
        "negative": {-1: vector},
        "name": {"tempo": vector, "mood": vector},
        "twice": {"0": vector, "layer_0": vector},
        "nan": {0: vector * float("nan")},
        "float64": {0: torch.full((48,), 1e300, dtype=torch.float64)},
        "empty": {},
    }
    files.get(what, lambda: torch.save(saved[what], path))()


REFUSED = [
    ("lfs", "a Git LFS pointer; fetch the file with git lfs pull"),
    ("html", "a web page; download the file itself"),
    ("legacy", "PyTorch's format from before 1.6"),
    ("pickle", "a pickle"),
    ("text", "unknown format; expected .pt"),
    ("nothing", "empty"),
    ("cut", "a damaged zip archive"),
    ("missing", "cannot be read: No such file"),
    ("lying storage", "not as long as the file says"),
    ("lying array", "not as long as the header says"),
    ("zip bomb", "more than vectors need"),
    ("objects", "Python objects, which are code"),
    ("ours", "needs no import"),
    ("expanded", "more than any model's vectors have"),
    ("huge bytes", "far more memory"),
    ("code", "which is code and is not run"),
    ("one", "of which layer? give --layer N"),
    ("nested", "expected a tensor, found dict"),
    ("text value", "expected a tensor, found str"),
    ("tuple key", "as the dict's keys, found tuple"),
    ("integers", "expected floating-point numbers, found int64"),
    ("matrix", "expected one vector [D] or [1, D], found [2, 48]"),
    ("cube", "expected [L, D], a row for each layer, found [2, 2, 48]"),
    ("widths", "expected 48 numbers"),
    ("sparse", "expected a dense tensor"),
    ("layer", "expected 0 to 1023"),
    ("negative", "layers count from 0"),
    ("name", "'tempo': expected a layer"),
    ("twice", "a second vector for decoder.0.resid_post"),
    ("nan", "not finite"),
    ("float64", "not finite"),
    ("empty", "holds no tensors"),
]


@pytest.mark.parametrize(("what", "words"), REFUSED)
def test_refused_with_a_sentence_and_nothing_written(tmp_path: Path, what: str, words: str) -> None:
    write(tmp_path / "v.pt", what)
    before = sorted(tmp_path.iterdir())
    done = importing(tmp_path, "v.pt", "x.safetensors")
    assert done.code == 1 and done.out == "", (done.out, done.err)
    assert len(done.err.splitlines()) == 1 and done.err.startswith("error: v.pt: "), done.err
    assert words in done.err
    assert sorted(tmp_path.iterdir()) == before


def test_the_model_and_the_result_are_checked(bundle: Path, tmp_path: Path) -> None:
    torch.save({3: BLOCK[0]}, tmp_path / "v.pt")
    torch.save({0: torch.ones(47)}, tmp_path / "narrow.pt")
    (tmp_path / "mine.safetensors").write_text("mine")
    for arguments, words in (
        (["v.pt", "x", "--model", bundle], "has a vector for layer 3; the model has layers 0 to 2"),
        (["v.pt", "x", "--num-layers", "3"], "the model has layers 0 to 2"),
        (["narrow.pt", "x", "--model", bundle], "vectors are 47 wide, the model 48"),
        (["v.pt", "x", "--model", tmp_path], "not a model bundle"),
        (["v.pt", "mine.safetensors"], "--force"),
        (["v.pt", "v.pt", "--force"], "is the file that is read"),
        (["v.pt", "nowhere/x"], "cannot be written"),
    ):
        done = importing(tmp_path, *arguments)
        assert done.code == 1 and len(done.err.splitlines()) == 1 and words in done.err, done.err
    assert (tmp_path / "mine.safetensors").read_text() == "mine"
    assert not (tmp_path / "x").exists()


def test_files_of_a_bundle_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": "musicsteer-bundle"}')
    (folder / "decoder.pt").write_bytes(b"precious")
    torch.save(BLOCK, tmp_path / "v.pt")
    done = importing(tmp_path, "v.pt", "bundle/decoder.pt", "--force")
    assert done.code == 1 and "would be written into the model bundle" in done.err, done.err
    assert (folder / "decoder.pt").read_bytes() == b"precious"
