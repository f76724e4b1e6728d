"""What both scripts refuse before they start anything; neither engine is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_sweeps import Toy, merged_contents
from program import PROGRAM

from musicsteer.cluster.shards import ClusterError, open_sweep
from musicsteer.cluster.slurm_sweep import array_command

COUNT_BYTES = """
import json, os, sys
for line in sys.stdin:
    print(json.dumps({"file_bytes": os.path.getsize(line.strip("\\n"))}), flush=True)
"""


def run(toy: Toy, script: str, *arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", f"musicsteer.cluster.{script}", *arguments],
        env=toy.environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


PLANS = {
    "no batch size": ({"batch_size": None}, "says no batch_size, so machines"),
    "neither": ({"batch_size": None, "threads": None}, "says no batch_size and no threads"),
    "threads": ({"threads": "all"}, 'threads: expected a number from 1, found "all"'),
    "unknown key": ({"seed": 1}, "unknown key 'seed'"),
    "no model": ({"model": "/nowhere"}, "/nowhere"),
    "no vector": ({"vectors": ["/nowhere.safetensors"]}, "/nowhere.safetensors"),
}


@pytest.mark.parametrize("case", PLANS)
def test_plans(toy: Toy, tmp_path: Path, case: str) -> None:
    changes, pattern = PLANS[case]
    plan = toy.write_plan(tmp_path, 0.1, **changes)
    code, out, err = run(toy, "slurm_sweep", plan, tmp_path / "runs", "--shards", "4")
    assert code == 1 and out == "" and len(err.splitlines()) == 1, err
    assert err.startswith("error: ") and pattern in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_files_that_are_no_plan(toy: Toy, tmp_path: Path, content: str | None) -> None:
    plan = tmp_path / "plan.json"
    if content is not None:
        plan.write_text(content)
    code, _, err = run(toy, "slurm_sweep", plan, tmp_path / "runs", "--shards", "4")
    assert code == 1 and len(err.splitlines()) == 1 and str(plan) in err


def test_arguments(toy: Toy, tmp_path: Path) -> None:
    code, _, err = run(toy, "slurm_sweep", "plan.json", "runs", "--shards", "0")
    assert code == 2 and "--shards: expected a number from 1" in err
    code, out, _ = run(toy, "slurm_sweep", "--help")
    assert code == 0 and "musicsteer cluster slurm plan.json" in out and "--at-once" in out


def test_another_plan_or_split_is_refused(toy: Toy, tmp_path: Path) -> None:
    plan = toy.write_plan(tmp_path, 0.1)
    out = tmp_path / "runs"
    shard = [PROGRAM, "sweep", "--plan", plan, "--shard", "2/3", "--out", out / "shards" / "2"]
    subprocess.run(shard, check=True, capture_output=True, env=toy.environment)
    code, _, err = run(toy, "slurm_sweep", plan, out, "--shards", "4")
    assert code == 1 and "was begun with --shards 3, and this is --shards 4" in err
    toy.write_plan(tmp_path, 0.1, seeds="5:7")
    code, _, err = run(toy, "slurm_sweep", plan, out, "--shards", "3")
    assert code == 1 and "no longer in the plan" in err and f"{out}/shards/2" in err


def test_a_merge_names_the_shards_that_lack_clips(toy: Toy, tmp_path: Path) -> None:
    """One by one they come, and in the end the order is that of a single run."""
    plan = toy.write_plan(tmp_path, 0.1)
    expected = toy.run_single(plan, tmp_path / "single")
    out = tmp_path / "runs"
    (out / "shards").mkdir(parents=True)
    code, _, err = run(toy, "merge_shards", out, "--shards", "2")
    assert code == 1 and "no shard has made anything" in err and "was killed, or never started" in err
    for number in ("2", "1"):
        shard = [PROGRAM, "sweep", "--plan", plan, "--shard", f"{number}/2", "--out", out / "shards" / number]
        subprocess.run(shard, check=True, capture_output=True, env=toy.environment)
        code, text, err = run(toy, "merge_shards", out, "--shards", "2")
        if number == "2":
            assert code == 1 and "shard 1 lacks" in err and "shard 2 lacks" not in err
            assert len(merged_contents(out)["runs.jsonl"].splitlines()) < 24
    assert code == 0 and text == f"{out}: 24 clips, all there\n"
    assert merged_contents(out) == expected
    assert json.loads(expected["plan.json"])["execution"]["threads"] == 1


def test_shards_run_the_measure_command_that_is_typed(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both engines run the sweep's own command for each shard; SLURM's script is run here without SLURM."""
    for key, value in toy.environment.items():
        monkeypatch.setenv(key, value)
    plan = toy.write_plan(tmp_path, 0.1)
    (tmp_path / "count bytes.py").write_text(COUNT_BYTES)
    mine = f"{sys.executable} '{tmp_path}/count bytes.py'"
    single = [PROGRAM, "sweep", "--plan", plan, "--out", tmp_path / "single", "--measure-command", mine]
    subprocess.run(single, check=True, capture_output=True)
    expected = merged_contents(tmp_path / "single")
    assert b'"file_bytes":' in expected["runs.jsonl"]

    out = tmp_path / "runs"
    sweep = open_sweep(str(plan), out, 2, mine)
    subprocess.run(sweep.command(1), check=True, capture_output=True)
    command = array_command(sweep, None, [])
    script = command[next(i for i, word in enumerate(command) if word.endswith("shard.sbatch")) :]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    subprocess.run(["bash", *script], check=True, capture_output=True)
    code, text, err = run(toy, "merge_shards", out, "--shards", "2")
    assert code == 0 and text == f"{out}: 24 clips, all there\n", err
    assert merged_contents(out) == expected

    with pytest.raises(ClusterError, match=r"was begun with --measure-command .* give the same again"):
        open_sweep(str(tmp_path / "single" / "plan.json"), tmp_path / "other", 2)
