"""A small bundle for the program's end-to-end tests, and a way to run the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "parity"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import checkpoints  # noqa: E402
from program import PROGRAM, ROOT, Outcome, Runner, environment  # noqa: E402

SHAPE = checkpoints.SHAPES[0]  # 3 layers of 48, 400 frames a second


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program remembers hashes, instead of the user's own cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    checkpoint = checkpoints.save(SHAPE, folder)
    target = folder / "bundle"
    subprocess.run(
        [sys.executable, "-m", "musicsteer.export_model", checkpoint, target],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture
def musicsteer(tmp_path: Path, cache: Path) -> Runner:
    """Run the program in a fresh folder."""
    assert PROGRAM.exists(), f"{PROGRAM} is not built: run scripts/setup.sh"

    def run(*arguments: str | Path, **options: object) -> Outcome:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(cache),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            **options,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory, bundle: Path, cache: Path) -> Path:
    """Tempo directions of the small bundle, from four prompts a side."""
    target = tmp_path_factory.mktemp("vectors") / "tempo.safetensors"
    arguments = ["extract", "--model", bundle, "--prompts", ROOT / "prompts" / "tempo.json"]
    subprocess.run(
        [PROGRAM, *arguments, "--limit", "4", "--duration", "0.1", "--threads", "1", "--out", target],
        check=True,
        capture_output=True,
        env=environment(cache),
    )
    return target
