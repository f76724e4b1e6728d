"""Path, fixtures and the summary of the largest errors of the parity tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import checkpoints  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from job import BUILD  # noqa: E402
from parity_report import ParityReport  # noqa: E402
from sides import Sides, make_sides  # noqa: E402

REPORT = pytest.StashKey[ParityReport]()


@pytest.fixture(scope="session")
def one_thread() -> None:
    """As the engine runs: another number of threads gives other last bits."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="session", params=checkpoints.SHAPES, ids=lambda shape: shape.name)
def sides(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Sides:
    """Every shape in turn."""
    return make_sides(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Sides:
    """The first shape, for what does not depend on the shape."""
    return make_sides(checkpoints.SHAPES[0], tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_stereo(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Sides:
    """The stereo shape."""
    stereo = next(shape for shape in checkpoints.SHAPES if shape.decoder.get("audio_channels") == 2)
    return make_sides(stereo, tmp_path_factory.mktemp("tiny_stereo"))


@pytest.fixture(scope="session", params=checkpoints.MELODY_SHAPES, ids=lambda shape: shape.name)
def melody_sides(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Sides:
    """Every melody checkpoint in turn."""
    return make_sides(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.fixture(scope="session")
def tiny_melody(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Sides:
    """The first melody checkpoint."""
    return make_sides(checkpoints.MELODY_SHAPES[0], tmp_path_factory.mktemp("tiny_melody"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = ParityReport()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> ParityReport:
    """Collects the largest errors."""
    return pytestconfig.stash[REPORT]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the largest errors and store them in the build folder."""
    found = config.stash[REPORT]
    if not found.maxima:
        return
    terminalreporter.section("parity: largest error as a share of the reference's largest value")
    for line in found.lines():
        terminalreporter.write_line(line)
    found.write(BUILD / "parity-report.json")
