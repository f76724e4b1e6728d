"""A sweep and a merge that are killed again and again end as if nothing had happened.

Kills come in two kinds: at times that are uniform over a run's length, and at steps that are uniform over all
that a run does to files (writes, syncs, renames), so that no seam is left to luck.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import PROGRAM, Runner, environment
from sweeps import check_folder, contents, grid

HERE = Path(__file__).resolve().parent
TIMED_KILLS = 50
STEP_KILLS = 30
MERGE_KILLS = 20


@pytest.fixture(scope="session")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that ends the program at its n-th step towards a file."""
    compiler = shutil.which("cc") or shutil.which("c++")
    assert compiler, "a C compiler is needed, as for building"
    library = tmp_path_factory.mktemp("killer") / "kill_at_call.so"
    source = HERE / "kill_at_call.c"
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True
    )
    return library


class Victim:
    """A command in a folder, run whole or killed."""

    def __init__(self, arguments: list[str], folder: Path, cache: Path, killer: Path):
        self.command = [str(PROGRAM), *arguments]
        self.folder = folder
        self.environment = environment(cache)
        self.killer = killer

    def run(self, extra: dict[str, str] | None = None, timeout_s: float = 120.0) -> int:
        """The exit code; -SIGKILL if it outlasts the time, and is killed."""
        process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment | (extra or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, err = process.communicate(timeout=timeout_s)
            assert process.returncode in (0, -signal.SIGKILL), err
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    def run_until_step(self, step: int) -> int:
        return self.run({"LD_PRELOAD": str(self.killer), "KILL_AT_CALL": str(step)})

    def count_steps(self) -> int:
        count = self.folder / "steps"
        assert self.run({"LD_PRELOAD": str(self.killer), "KILL_COUNT_FILE": str(count)}) == 0
        steps = int(count.read_text())
        count.unlink()
        return steps


def whole_lines(log: Path) -> bytes:
    """What is in the log for good: its lines up to a torn one."""
    content = log.read_bytes() if log.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def kill_again_and_again(
    strike: Callable[[], int], finish: Callable[[], int], out: Path, kills: int, expected: dict[str, bytes]
) -> None:
    """Kill until that many runs were killed. Whenever a run finished anyway, check it and start again."""
    struck = 0
    rounds = 0
    while struck < kills:
        shutil.rmtree(out, ignore_errors=True)
        recorded = b""
        while struck < kills:
            code = strike()
            if code == 0:
                break
            struck += 1
            kept = whole_lines(out / "runs.jsonl")
            assert kept.startswith(recorded), "a record that was synced is gone or changed"
            recorded = kept
        assert finish() == 0
        assert whole_lines(out / "runs.jsonl").startswith(recorded)
        assert contents(out) == expected
        rounds += 1
    assert struck == kills and rounds >= 1


def test_a_sweep_killed_at_any_time(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, cache: Path, killer: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "whole").code == 0
    check_folder(tmp_path / "whole", 12)
    victim = Victim([*grid(bundle, vectors), "--out", "runs"], tmp_path, cache, killer)
    start = time.monotonic()
    assert victim.run() == 0
    length_s = time.monotonic() - start
    chance = random.Random(4)
    kill_again_and_again(
        lambda: victim.run(timeout_s=chance.uniform(0.0, length_s)),
        victim.run,
        tmp_path / "runs",
        TIMED_KILLS,
        contents(tmp_path / "whole"),
    )


def test_a_sweep_killed_at_any_step(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, cache: Path, killer: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "whole").code == 0
    victim = Victim([*grid(bundle, vectors), "--out", "runs"], tmp_path, cache, killer)
    steps = victim.count_steps()
    assert steps > 12 * 6  # a clip is written, synced, renamed; its record is written and synced
    chance = random.Random(5)
    kill_again_and_again(
        lambda: victim.run_until_step(chance.randint(1, steps)),
        victim.run,
        tmp_path / "runs",
        STEP_KILLS,
        contents(tmp_path / "whole"),
    )


def test_a_merge_killed_at_any_step(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, cache: Path, killer: Path
) -> None:
    for shard in ("1", "2"):
        done = musicsteer(*grid(bundle, vectors), "--shard", f"{shard}/2", "--out", f"part{shard}")
        assert done.code == 0
    parts = {name: contents(tmp_path / name) for name in ("part1", "part2")}
    assert musicsteer("sweep", "--merge", "part1", "part2", "--out", "whole").code == 0
    victim = Victim(["sweep", "--merge", "part1", "part2", "--out", "runs"], tmp_path, cache, killer)
    steps = victim.count_steps()
    chance = random.Random(6)
    kill_again_and_again(
        lambda: victim.run_until_step(chance.randint(1, steps)),
        victim.run,
        tmp_path / "runs",
        MERGE_KILLS,
        contents(tmp_path / "whole"),
    )
    assert {name: contents(tmp_path / name) for name in ("part1", "part2")} == parts
    assert os.path.exists(tmp_path / "runs" / "runs.csv")
