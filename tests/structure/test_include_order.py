"""The folders of src/ stand in an order: each may include those before it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
PUBLIC = ROOT / "include" / "musicsteer"
EXPERIMENTS = ["experiments/sweep", "experiments/calibrate", "experiments/study", "experiments/patch"]
ORDER = ["base", "io", "audio", "kernels", "tokenizer", "bundle", "model", "generation", "prompts"]
ORDER += [
    "directions",
    "recordings",
    "steering",
    "experiments",
    *EXPERIMENTS,
    "pipeline",
    "program",
    "inspection",
    "cli",
]
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def folder_of(path: Path) -> str:
    """The folder of a file, as ORDER has it."""
    return path.relative_to(SOURCES).parent.as_posix()


def home_of(header: Path) -> str | None:
    """The folder of a public header's source; None for one that only declares plain types."""
    sources = list(SOURCES.rglob(header.stem + ".cpp"))
    assert len(sources) <= 1, f"which source is {header.name}'s?"
    return folder_of(sources[0]) if sources else None


def includes(path: Path) -> list[str]:
    """The folders that a file includes from; a name without a folder is the file's own folder."""
    folders: list[str] = []
    for name in INCLUDE.findall(path.read_text("utf-8")):
        if name.startswith("musicsteer/"):
            home = home_of(PUBLIC / Path(name).name)
            folders += [home] if home else []
        else:
            folders.append(Path(name).parent.as_posix() if "/" in name else folder_of(path))
    return folders


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


@pytest.mark.parametrize("header", sorted(path.name for path in PUBLIC.glob("*.hpp")))
def test_public_headers_include_public_headers_only(header: str) -> None:
    names = INCLUDE.findall((PUBLIC / header).read_text("utf-8"))
    assert [name for name in names if not (ROOT / "include" / name).is_file()] == []
