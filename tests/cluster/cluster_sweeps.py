"""What the cluster tests share: a plan, its single run, and a shard's process to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from program import PROGRAM
from sweeps import contents

SHARDS = 4
PATIENCE_S = 300.0  # of a poll: far more than it takes, for a machine that is busy


@dataclass(frozen=True)
class Toy:
    """A tiny model, and the environment for programs that use it."""

    folder: Path
    bundle: Path
    vectors: Path
    environment: dict[str, str]

    def write_plan(self, folder: Path, duration_s: float, **changes: Any) -> Path:
        """2 texts of different length x 4 seeds x (unsteered, 2 alphas): 24 clips, in batches of one."""
        plan = {
            "model": str(self.bundle),
            "prompts": ["slow calm piano music " * 12, "organ"],
            "seeds": "0:4",
            "vectors": [str(self.vectors)],
            "alphas": "-2:2:2",
            "duration_s": duration_s,
            "batch_size": 1,
            "threads": 1,
        } | changes
        path = folder / "plan.json"
        path.write_text(json.dumps({key: value for key, value in plan.items() if value is not None}))
        return path

    def run_single(self, plan: Path, out: Path) -> dict[str, bytes]:
        """What one undisturbed run leaves."""
        command = [PROGRAM, "sweep", "--plan", plan, "--out", out]
        subprocess.run(command, check=True, capture_output=True, env=self.environment)
        return contents(out)


def engine_missing(reason: str) -> None:
    """Skip the test, unless all tests are asked for."""
    if os.environ.get("MUSICSTEER_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def merged_contents(out: Path) -> dict[str, bytes]:
    """Every file of the merged sweep, without the shards beside it."""
    return {name: data for name, data in contents(out).items() if not name.startswith("shards/")}


def wait_until(condition: Callable[[], Any], what: str, process: subprocess.Popen[str] | None = None) -> Any:
    """Poll until the condition gives something; the process has to live on meanwhile."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"no {what} after {PATIENCE_S:g} s"
        if process is not None:
            assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return found


def clips_of(shard: Path) -> int:
    log = shard / "runs.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def find_process(shard: Path) -> int | None:
    """The process ID of the program that makes this shard."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            is_program = (entry / "comm").read_text().strip() == PROGRAM.name
        except (OSError, ValueError):
            continue
        if is_program and str(shard).encode() in command:
            return int(entry.name)
    return None


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def planned_clips(expected: dict[str, bytes], shard: int) -> int:
    identifiers = [json.loads(line)["id"] for line in expected["runs.jsonl"].splitlines()]
    return sum(int(identifier[:15], 16) % SHARDS == shard - 1 for identifier in identifiers)
