"""musicsteer cluster slurm on a SLURM of our own: kills, failures, and the bytes of a single run."""

from __future__ import annotations

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
    planned_clips,
    wait_until,
)
from toy_slurm import SlurmUnavailable, missing_commands, running_slurm


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which jobs can be submitted."""
    if missing := missing_commands():
        engine_missing(f"no SLURM here ({', '.join(missing)} missing): run scripts/setup.sh --cluster")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons need root to start jobs")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # paths of sockets have to be short
    try:
        with running_slurm(folder) as environment:
            yield environment
    except SlurmUnavailable as error:
        engine_missing(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(toy: Toy, slurm: dict[str, str], plan: Path, out: Path, *extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "musicsteer.cluster.slurm_sweep", plan, out]
    return subprocess.Popen(
        [*command, "--shards", str(SHARDS), "--wait", *extra],
        env={**toy.environment, **slurm, "XDG_CACHE_HOME": toy.environment["XDG_CACHE_HOME"]}
        | {"MUSICSTEER": toy.environment["MUSICSTEER"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_shard_goes_on_by_itself(toy: Toy, slurm: dict[str, str], tmp_path: Path) -> None:
    plan = toy.write_plan(tmp_path, duration_s=0.5)
    expected = toy.run_single(plan, tmp_path / "single")
    out = tmp_path / "runs"
    shard = out / "shards" / "2"
    process = start(toy, slurm, plan, out)
    wait_until(lambda: clips_of(shard), "clip of shard 2", process)
    victim = find_process(shard)
    assert victim is not None, "shard 2 was made before it could be killed"
    os.kill(victim, signal.SIGKILL)
    text, errors = process.communicate()
    assert process.returncode == 0, (text, errors)
    log = (out / "shards" / "2.log").read_text()
    assert "(exit code 137): back into the queue" in log and "restart 1" in log
    kept = int(log.partition("shard 2 stopped with ")[2].split()[0])
    assert 0 < kept < planned_clips(expected, 2), "it was not killed midway"
    assert f"{planned_clips(expected, 2) - kept} made, {kept} existed" in log
    assert f"{out}: 24 clips, all there" in text and f"{SHARDS} shards" in text
    assert merged_contents(out) == expected


def test_a_shard_that_fails_is_named_and_can_be_repeated(
    toy: Toy, slurm: dict[str, str], tmp_path: Path
) -> None:
    plan = toy.write_plan(tmp_path, duration_s=0.1)
    expected = toy.run_single(plan, tmp_path / "single")
    out = tmp_path / "runs"
    obstacle = out / "shards" / "3"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    process = start(toy, slurm, plan, out, "--", "--job-name=toy")
    text, errors = process.communicate()
    assert process.returncode == 1, (text, errors)
    lacking = planned_clips(expected, 3)
    assert f"{lacking} clips of 24 are missing" in text and f"shard 3 lacks {lacking} clip" in text
    assert "expected a folder, found a file" in text and f"log: {out}/shards/3.log" in text
    assert "shard 1" not in text and "back into the queue" not in (out / "shards" / "3.log").read_text()
    kept = {number: merged_contents(out / "shards" / number) for number in ("1", "2", "4")}
    assert merged_contents(out)["runs.jsonl"].count(b"\n") == 24 - lacking

    obstacle.unlink()
    process = start(toy, slurm, plan, out)
    text, errors = process.communicate()
    assert process.returncode == 0, (text, errors)
    assert merged_contents(out) == expected
    assert {number: merged_contents(out / "shards" / number) for number in kept} == kept


def test_what_sbatch_refuses_is_said(toy: Toy, slurm: dict[str, str], tmp_path: Path) -> None:
    plan = toy.write_plan(tmp_path, duration_s=0.1)
    process = start(toy, slurm, plan, tmp_path / "runs", "--", "--partition=nowhere")
    text, errors = process.communicate()
    assert process.returncode == 1 and text == ""
    assert "invalid partition" in errors and "error: sbatch submitted nothing" in errors
