"""A tiny model on a path that shards share, and the folders that these tests import from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (HERE, HERE.parent / "cli", HERE.parent / "parity"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import checkpoints  # noqa: E402
from cluster_sweeps import Toy  # noqa: E402
from program import PROGRAM  # noqa: E402


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A bundle and a vector file of a tiny random model."""
    assert PROGRAM.exists(), f"{PROGRAM} is not built: run scripts/setup.sh"
    folder = tmp_path_factory.mktemp("cluster")
    checkpoint = checkpoints.save(checkpoints.SHAPES[0], folder)  # 3 layers of 48, 400 frames a second
    bundle, vectors = folder / "bundle", folder / "tempo.safetensors"
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "MUSICSTEER": str(PROGRAM)}
    export = [sys.executable, "-m", "musicsteer.export_model", checkpoint, bundle]
    extract = [PROGRAM, "extract", "--model", bundle, "--prompts", ROOT / "prompts" / "tempo.json"]
    extract += ["--limit", "4", "--duration", "0.1", "--threads", "1", "--out", vectors]
    for command in (export, extract):
        subprocess.run(command, check=True, capture_output=True, env=environment)
    return Toy(folder, bundle, vectors, environment)
