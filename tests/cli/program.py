"""The program, as the end-to-end tests run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))


@dataclass(frozen=True)
class Outcome:
    """What a run of the program left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Runner = Callable[..., Outcome]


def environment(cache: Path) -> dict[str, str]:
    """With GOMP_SPINCOUNT set, the program does not restart itself."""
    fixed = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "2000"}
    return {**os.environ, **fixed, "XDG_CACHE_HOME": str(cache)}
