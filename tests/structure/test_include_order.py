"""The folders of src/ stand in an order: each may include those before it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src"
EXPERIMENTS = ["experiments/sweep", "experiments/calibrate", "experiments/study", "experiments/patch"]
ORDER = ["base", "io", "audio", "kernels", "tokenizer", "model", "generation", "directions", "steering"]
ORDER += ["experiments", *EXPERIMENTS, "cli"]
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def folder_of(path: Path) -> str:
    """The folder of a file, as ORDER has it."""
    return path.relative_to(SOURCES).parent.as_posix()


def includes(path: Path) -> list[str]:
    """The folders that a file includes from; a name without a folder is the file's own folder."""
    names = INCLUDE.findall(path.read_text("utf-8"))
    return [Path(name).parent.as_posix() if "/" in name else folder_of(path) for name in names]


def test_every_folder_has_its_place() -> None:
    assert {folder_of(path) for path in SOURCES.rglob("*.[ch]pp")} == set(ORDER)


@pytest.mark.parametrize("folder", ORDER)
def test_includes_point_down(folder: str) -> None:
    allowed = ORDER[: ORDER.index(folder) + 1]
    wrong = [
        f"{path.name} includes {name}"
        for path in sorted((SOURCES / folder).glob("*.[ch]pp"))
        for name in includes(path)
        if name not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ORDER)
def test_no_folder_is_a_heap(folder: str) -> None:
    assert len(list((SOURCES / folder).glob("*.[ch]pp"))) <= 36
