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
from program import Runner

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
