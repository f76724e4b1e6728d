"""Modules are mapped into memory, not copied: what comes of files that are not as they usually are."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import checkpoints
import pytest
import torch
from program import Runner
from safetensors.torch import load_file, save_file

MODULES = ("decoder.pt", "text_encoder.pt", "codec.pt")


def generate(musicsteer: Runner, bundle: Path, out: Path) -> bytes:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--duration", "0.2", "--threads", "1", "--out", out
    )
    assert done.code == 0, done.err
    assert "Warning" not in done.err  # LibTorch says it so, musicsteer says "warning"
    return out.read_bytes()


def compress(path: Path) -> None:
    """The same archive, its records deflated and no longer aligned."""
    with zipfile.ZipFile(path) as plain:
        records = [(info.filename, plain.read(info)) for info in plain.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small:
        for name, data in records:
            small.writestr(name, data)


def test_compressed_modules_are_read_as_well(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    for name in MODULES:
        before = (copy / name).stat().st_size
        compress(copy / name)
        assert (copy / name).stat().st_size < before
        digest = hashlib.sha256((copy / name).read_bytes()).hexdigest()
        manifest["files"][name] = {"sha256": digest, "bytes": (copy / name).stat().st_size}
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert generate(musicsteer, copy, tmp_path / "a.wav") == generate(musicsteer, bundle, tmp_path / "b.wav")


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_libtorch_is_silent_about_other_precisions(
    musicsteer: Runner, tmp_path: Path, precision: str
) -> None:
    checkpoint, bundle = checkpoints.save(checkpoints.SHAPES[0], tmp_path), tmp_path / "bundle"
    export = [sys.executable, "-m", "musicsteer.export_model", checkpoint, bundle]
    subprocess.run([*export, "--precision", precision], check=True, capture_output=True)
    assert len(generate(musicsteer, bundle, tmp_path / "a.wav")) > 44


def test_how_far_a_fine_tune_has_moved(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    checkpoint, tuned = checkpoints.save(checkpoints.SHAPES[0], tmp_path), tmp_path / "tuned"
    weights = load_file(checkpoint / "model.safetensors")
    moved = "decoder.model.decoder.layers.1.fc1.weight"
    of_layer = [
        tensor for name, tensor in weights.items() if name.startswith("decoder.model.decoder.layers.1.")
    ]
    expected = 0.1 * weights[moved].norm() / torch.cat([tensor.flatten() for tensor in of_layer]).norm()
    weights[moved] = 1.1 * weights[moved]
    save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    export = [sys.executable, "-m", "musicsteer.export_model", checkpoint, tuned, "--name", "tuned"]
    subprocess.run(export, check=True, capture_output=True)

    found = json.loads(musicsteer("inspect", tuned, "--base", bundle, "--json").out)["weight_changes"]
    assert found["base"]["name"] == "tiny-mono"
    assert set(found["relative"]) == {"embeddings and heads", "layer 0", "layer 1", "layer 2", "text encoder"}
    assert found["relative"].pop("layer 1") == pytest.approx(float(expected), rel=1e-4)
    assert set(found["relative"].values()) == {0.0}
    table = musicsteer("inspect", tuned, "--base", bundle).out
    assert "weights against tiny-mono, relative change:\n" in table and "layer 0           0 %\n" in table

    steer = ("--prompt", "x", "--steer", vectors, "--duration", "0.1", "--out", "a.wav")
    done = musicsteer("generate", "--model", tuned, *steer)
    assert done.code == 0 and "`musicsteer inspect BUNDLE --base BUNDLE` says how far" in done.err

    other = checkpoints.save(checkpoints.SHAPES[1], tmp_path)
    subprocess.run([*export[:3], other, tmp_path / "other"], check=True, capture_output=True)
    done = musicsteer("inspect", tuned, "--base", tmp_path / "other")
    assert done.code == 1 and "are not of one architecture and size" in done.err
