"""What the tests of `musicsteer sweep` share: a small grid, and ways to look at a folder."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

SHORT = ["--duration", "0.1", "--threads", "1"]  # 40 frames
CLOCKED = {".lock", "timings.jsonl"}  # all that may differ between two runs of one plan


def grid(bundle: Path, vectors: Path, **changes: str) -> list[str]:
    """Arguments of a sweep: 2 prompts x 2 seeds x (unsteered, alpha -2, alpha 2) in batches of 4.

    changes: other values of flags (seeds="0:3"), with "" to leave one out.
    """
    flags = {
        "seeds": "0:2",
        "steer": str(vectors),
        "alphas": "-2:2:2",
        "batch-size": "4",
        "duration": "0.1",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    arguments = ["sweep", "--model", str(bundle), "--prompt", "piano", "--prompt", "organ", "--threads", "1"]
    for name, value in flags.items():
        arguments += [f"--{name}", value] if value else []
    return arguments


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "runs.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that a plan determines, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in CLOCKED
    }


def check_folder(folder: Path, clips: int) -> None:
    """The folder holds that many clips, and agrees with itself."""
    found = records(folder)
    assert len(found) == clips and len({record["id"] for record in found}) == clips
    assert sorted(path.name for path in (folder / "clips").iterdir()) == sorted(
        record["id"] + ".wav" for record in found
    )
    for record in found:
        wav = (folder / record["file"]).read_bytes()
        assert hashlib.sha256(wav).hexdigest() == record["audio_sha256"]
    assert {row["id"] for row in rows(folder)} == {record["id"] for record in found}
