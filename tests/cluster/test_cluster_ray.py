"""musicsteer cluster ray on a Ray of its own: kills, failures, and the bytes of a single run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_sweeps import (
    SHARDS,
    Toy,
    clips_of,
    engine_missing,
    find_process,
    merged_contents,
    parent_of,
    planned_clips,
    wait_until,
)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps sockets and logs; their paths have to be short."""
    if importlib.util.find_spec("ray") is None:
        engine_missing("Ray is not installed: run scripts/setup.sh --cluster")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start(toy: Toy, ray_folder: Path, plan: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "musicsteer.cluster.ray_sweep", plan, out]
    # Ray's workers have niceness 15 otherwise, and on a busy machine would wait for ever.
    environment = {**toy.environment, "RAY_TMPDIR": str(ray_folder), "RAY_worker_niceness": "0"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [*command, "--shards", str(SHARDS), "--cpus", "2"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_shard_goes_on_when_its_worker_is_killed(toy: Toy, ray_folder: Path, tmp_path: Path) -> None:
    plan = toy.write_plan(tmp_path, duration_s=0.5)
    expected = toy.run_single(plan, tmp_path / "single")
    out = tmp_path / "runs"
    shard = out / "shards" / "2"
    process = start(toy, ray_folder, plan, out)
    wait_until(lambda: clips_of(shard), "clip of shard 2", process)
    program = find_process(shard)
    assert program is not None, "shard 2 was made before its worker could be killed"
    worker = parent_of(program)
    assert b"ray" in Path(f"/proc/{worker}/cmdline").read_bytes()
    os.kill(worker, signal.SIGKILL)
    text, errors = process.communicate()
    assert process.returncode == 0, (text, errors)
    log = (out / "shards" / "2.log").read_text()
    kept = int(log.rpartition(" existed")[0].split()[-1])
    assert 0 < kept < planned_clips(expected, 2), "it was not killed midway"
    assert "shard 2 is done" in errors and f"({SHARDS} of {SHARDS} ended)" in errors
    assert text == f"{out}: 24 clips, all there\n"
    assert merged_contents(out) == expected


def test_a_shard_that_fails_is_named_and_can_be_repeated(toy: Toy, ray_folder: Path, tmp_path: Path) -> None:
    plan = toy.write_plan(tmp_path, duration_s=0.1)
    expected = toy.run_single(plan, tmp_path / "single")
    out = tmp_path / "runs"
    obstacle = out / "shards" / "3"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    process = start(toy, ray_folder, plan, out)
    text, errors = process.communicate()
    assert process.returncode == 1 and text == "", (text, errors)
    lacking = planned_clips(expected, 3)
    assert "shard 3 failed (exit code 1)" in errors and "shard 1 is done" in errors
    assert f"error: {out}: {lacking} clips of 24 are missing" in errors
    assert f"shard 3 lacks {lacking} clip" in errors and "expected a folder, found a file" in errors
    kept = {number: merged_contents(out / "shards" / number) for number in ("1", "2", "4")}

    obstacle.unlink()
    process = start(toy, ray_folder, plan, out)
    text, errors = process.communicate()
    assert process.returncode == 0, (text, errors)
    assert merged_contents(out) == expected
    assert {number: merged_contents(out / "shards" / number) for number in kept} == kept


def test_help_fits_80_columns(ray_folder: Path) -> None:
    command = [sys.executable, "-m", "musicsteer.cluster.ray_sweep", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
