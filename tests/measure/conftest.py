"""Clips with what the program, librosa and ffmpeg measure on them; the largest differences at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import librosa_measures  # noqa: E402
import measure_clips  # noqa: E402
from comparison_table import ComparisonTable  # noqa: E402

ROOT = HERE.parents[1]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
TABLE = pytest.StashKey[ComparisonTable]()

Measures = dict[str, dict[str, float | None]]


def run_program(*arguments: str | Path) -> str:
    assert PROGRAM.exists(), f"{PROGRAM} is not built: run scripts/setup.sh"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def generate(folder: Path) -> list[Path]:
    """Clips of 8 s from the demo model."""
    bundle, clips = folder / "bundle", folder / "generated"
    exporting = [sys.executable, "-m", "musicsteer.export_model", ROOT / "models" / "demo", bundle]
    subprocess.run(exporting, check=True, capture_output=True)
    prompts = ["--prompt", "fast bright piano music with drums", "--prompt", "slow dark organ music"]
    settings = ["--seeds", "0:2", "--duration", "8", "--threads", "1", "--no-verify"]
    run_program("generate", "--model", bundle, *prompts, *settings, "--out", clips)
    return sorted(clips.glob("*.wav"))


def write_all(clips: Iterator[measure_clips.Clip], folder: Path) -> list[Path]:
    return [clip.write(folder) for clip in clips]


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Rendered, generated and synthetic clips of 5 to 30 s."""
    folder = tmp_path_factory.mktemp("music")
    rendered = write_all(measure_clips.songs(), folder)
    return rendered + write_all(measure_clips.synthetic(), folder) + generate(folder)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Clips that are hardly there."""
    folder = tmp_path_factory.mktemp("odd")
    return write_all(measure_clips.short(), folder) + write_all(measure_clips.quiet(), folder)


def by_program(paths: list[Path], *options: str) -> Measures:
    found = json.loads(run_program("measure", "--json", *options, *paths))
    return {Path(record["file"]).stem: record for record in found}


def by_librosa(paths: list[Path]) -> Measures:
    return {path.stem: librosa_measures.measure(path) for path in paths}


@pytest.fixture(scope="session")
def found(music: list[Path]) -> Measures:
    return by_program(music)


@pytest.fixture(scope="session")
def expected(music: list[Path]) -> Measures:
    return by_librosa(music)


@pytest.fixture(scope="session")
def prior_found(music: list[Path]) -> Measures:
    """With a tempo prior that is not the default."""
    prior = librosa_measures.PRIOR
    return by_program(music, "--tempo-prior", f"{prior['start_bpm']}:{prior['std_bpm']}")


@pytest.fixture(scope="session")
def prior_expected(music: list[Path]) -> Measures:
    return {path.stem: {"tempo_bpm": librosa_measures.tempo_with_prior(path)} for path in music}


@pytest.fixture(scope="session")
def odd_found(odd: list[Path]) -> Measures:
    return by_program(odd)


@pytest.fixture(scope="session")
def odd_expected(odd: list[Path]) -> Measures:
    return by_librosa(odd)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = ComparisonTable()


@pytest.fixture(scope="session")
def note(pytestconfig: pytest.Config) -> Callable[[str, dict[str, float], str], None]:
    """note(measure, difference of each clip, unit): a line of the table at the end."""
    return pytestconfig.stash[TABLE].add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the largest differences."""
    lines = config.stash[TABLE].lines()
    if lines:
        terminalreporter.section("measures: largest difference from librosa (loudness: ffmpeg)")
        for line in lines:
            terminalreporter.write_line(line)
