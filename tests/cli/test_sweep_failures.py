"""`musicsteer sweep` when something goes wrong: bad input, clips that fail, full disks, damaged files."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
from program import Runner
from sweeps import check_folder, contents, grid, records

BASE = ["sweep", "--model", "{bundle}", "--out", "runs", "--duration", "0.1", "--threads", "1"]
PIANO = [*BASE, "--prompt", "piano"]
STEER = [*PIANO, "--steer", "{vectors}"]

ARGUMENTS = {
    "no out": (["sweep", "--model", "{bundle}", "--prompt", "x"], 2, "--out"),
    "no model": (["sweep", "--prompt", "x", "--out", "runs"], 2, "--model is required"),
    "empty grid": (BASE, 2, "no prompts"),
    "no alphas": (STEER, 2, "no strength is given"),
    "alphas without vector": ([*PIANO, "--alphas", "1"], 2, "need a vector"),
    "empty range": ([*STEER, "--alphas", "2:-2:0.5"], 2, "empty"),
    "range without step": ([*STEER, "--alphas", "-2:2"], 2, "FIRST:LAST:STEP"),
    "step 0": ([*STEER, "--alphas", "-2:2:0"], 2, "more than 0"),
    "alpha text": ([*STEER, "--alphas", "1,loud"], 2, "loud"),
    "alpha nan": ([*STEER, "--alphas", "nan"], 2, "nan"),
    "empty seeds": ([*PIANO, "--seeds", "4:4"], 2, "empty"),
    "seed text": ([*PIANO, "--seeds", "a:b"], 2, "seeds 'a:b'"),
    "empty layer": ([*STEER, "--alphas", "1", "--layers", "all,,1"], 2, "an item is empty"),
    "layer out of range": ([*STEER, "--alphas", "1", "--layers", "2-7"], 2, "0 to 2"),
    "strategy": ([*STEER, "--alphas", "1", "--strategies", "one-to-al"], 2, "did you mean 'one-to-all'"),
    "source layer for per-layer": (
        [*STEER, "--alphas", "1", "--strategies", "per-layer", "--source-layers", "1"], 2, "source layers"),
    "source layer out of range": ([*STEER, "--alphas", "1", "--source-layers", "9"], 2, "0 to 2"),
    "rows": ([*STEER, "--alphas", "1", "--rows", "null"], 2, "conditional"),
    "limit without file": ([*PIANO, "--limit", "3"], 2, "limit"),
    "shard": ([*PIANO, "--shard", "3/2"], 2, "I from 1 to N"),
    "duration": ([*PIANO, "--duration", "0"], 2, "duration"),
    "format": ([*PIANO, "--format", "mp3"], 2, "mp3"),
    "batch size": ([*PIANO, "--batch-size", "-1"], 2, "batch"),
    "a million": ([*PIANO, "--seeds", "0:1000000", "--prompt", "y"], 2, "more than a million"),
    "missing vector": ([*PIANO, "--steer", "no.safetensors", "--alphas", "1"], 1, "no.safetensors"),
    "missing prompts": ([*BASE, "--prompts", "no.json"], 1, "no.json"),
    "missing plan": (["sweep", "--plan", "no.json", "--out", "runs"], 1, "no.json"),
    "plan and grid": (["sweep", "--plan", "no.json", "--prompt", "x", "--out", "runs"], 2, "--prompt"),
    "merge of nothing": (["sweep", "--merge", "nowhere", "--out", "runs"], 1, "nowhere"),
    "merge and grid": (["sweep", "--merge", "a", "--prompt", "x", "--out", "runs"], 2, "--prompt"),
    "out below a file": ([*PIANO, "--out", "{vectors}/runs"], 1, "runs"),
    "out in /proc": ([*PIANO, "--out", "/proc/runs"], 1, "/proc/runs"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, case: str) -> None:
    arguments, code, pattern = ARGUMENTS[case]
    if arguments.count("--out") > 1:
        arguments = [a for i, a in enumerate(arguments) if i not in (3, 4)]
    filled = [a.replace("{bundle}", str(bundle)).replace("{vectors}", str(vectors)) for a in arguments]
    if arguments.count("--duration") > 1:
        filled.remove("--duration")
        filled.remove("0.1")
    done = musicsteer(*filled)
    assert done.code == code, (done.out, done.err)
    assert len(done.err.splitlines()) == 1 and pattern in done.err, done.err
    assert list(tmp_path.iterdir()) == []


PLANS = {
    "unknown key": ({"prompt": ["x"]}, 1, "unknown key 'prompt', did you mean 'prompts'"),
    "unknown key of a vector": (
        {"prompts": ["x"], "vectors": [{"file": "v", "strength": 1}]}, 1, "vectors[0]: unknown key"),
    "wrong type": ({"prompts": "x"}, 1, "prompts: expected a list"),
    "no JSON": ("{", 1, "not JSON"),
    "empty": ({"duration_s": 0.1}, 2, "no prompts"),
    "batch size twice": ({"prompts": ["x"], "batch_size": 4}, 2, "--batch-size is given twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_plan_files(musicsteer: Runner, bundle: Path, tmp_path: Path, case: str) -> None:
    plan, code, pattern = PLANS[case]
    (tmp_path / "plan.json").write_text(plan if isinstance(plan, str) else json.dumps(plan))
    done = musicsteer("sweep", "--plan", "plan.json", "--model", bundle, "--batch-size", "8", "--out", "runs")
    assert done.code == code and len(done.err.splitlines()) == 1 and pattern in done.err, done.err
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_foreign_folder_is_left_alone(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "letter.txt").write_text("dear")
    done = musicsteer(*grid(bundle, vectors), "--out", "runs")
    assert done.code == 1 and "holds 'letter.txt' but no plan.json" in done.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["letter.txt"]


def test_clips_that_fail_are_left_out_and_listed(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """A huge alpha makes activations infinite; the other rows of those batches keep their bytes."""
    assert musicsteer(*grid(bundle, vectors, alphas="-2,0,2"), "--out", "whole").code == 0
    arguments = [*grid(bundle, vectors, alphas="-2,0,1e38,2", layers="1"), "--out", "runs"]
    assert musicsteer(*grid(bundle, vectors, alphas="-2,0,2", layers="1"), "--out", "good").code == 0
    for attempt in range(2):
        done = musicsteer(*arguments)
        assert done.code == 1 and len(done.errors) == 1
        assert "4 clips of 16 are missing" in done.errors[0] and "not finite" in done.errors[0]
        missing = [
            line.split()[1].rstrip(":") for line in done.out.splitlines() if line.startswith("missing")
        ]
        assert len(missing) == 4
        assert ("12 made" if attempt == 0 else "0 made, 12 existed") in done.out
        check_folder(tmp_path / "runs", 12)
    assert not {record["id"] for record in records(tmp_path / "runs")} & set(missing)
    good, runs = contents(tmp_path / "good"), contents(tmp_path / "runs")
    assert {name: good[name] for name in good if name.startswith("clips/")} == {
        name: runs[name] for name in runs if name.startswith("clips/")
    }


def limit_file_size() -> None:
    """Writes beyond 5 KB fail, as they do on a full disk: room for a WAV and a few records."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))


def test_a_full_disk(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    arguments = [*grid(bundle, vectors), "--out", "runs"]
    done = musicsteer(*arguments, preexec_fn=limit_file_size)
    assert done.code == 1 and len(done.errors) == 1, done.err
    assert "missing, the first is" in done.err or "cannot be written" in done.err
    assert not [path for path in (tmp_path / "runs").rglob("*") if ".tmp-" in path.name]
    done = musicsteer(*arguments)
    assert done.code == 0, done.err
    check_folder(tmp_path / "runs", 12)
    assert musicsteer(*grid(bundle, vectors), "--out", "whole").code == 0
    assert contents(tmp_path / "runs") == contents(tmp_path / "whole")


def test_one_clip_that_cannot_be_written(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "whole").code == 0
    odd = records(tmp_path / "whole")[5]["id"]
    in_the_way = tmp_path / "runs" / "clips" / f"{odd}.wav"
    shutil.copytree(tmp_path / "whole", tmp_path / "runs")
    (tmp_path / "runs" / "runs.jsonl").write_text("")
    shutil.rmtree(tmp_path / "runs" / "clips")
    in_the_way.mkdir(parents=True)
    arguments = [*grid(bundle, vectors), "--out", "runs"]
    done = musicsteer(*arguments)
    assert done.code == 1 and f"missing {odd}" in done.out and "1 clip of 12 is missing" in done.err
    in_the_way.rmdir()
    done = musicsteer(*arguments)
    assert done.code == 0 and "1 made, 11 existed" in done.out
    check_folder(tmp_path / "runs", 12)


def test_a_torn_last_line(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    arguments = [*grid(bundle, vectors), "--out", "runs"]
    assert musicsteer(*arguments).code == 0
    before = contents(tmp_path / "runs")
    log = tmp_path / "runs" / "runs.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    done = musicsteer(*arguments)
    assert done.code == 0 and "its last line was unfinished" in done.err
    assert "1 made, 11 existed" in done.out
    assert contents(tmp_path / "runs") == before
    log.write_text("garbage\n" + log.read_text())
    done = musicsteer(*arguments)
    assert done.code == 1 and "runs.jsonl: line 1" in done.err


def test_a_vector_file_that_changed(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    """A vector that changes between two runs gives other clips; a stored plan checks its hash."""
    own = tmp_path / "own.safetensors"
    shutil.copy(vectors, own)
    assert musicsteer(*grid(bundle, own), "--out", "runs").code == 0
    content = bytearray(own.read_bytes())
    content[-1] ^= 1
    own.write_bytes(content)
    done = musicsteer(*grid(bundle, own), "--out", "runs")
    assert done.code == 1 and "no longer in the plan" in done.err
    (tmp_path / "runs" / "runs.jsonl").write_text("")
    done = musicsteer("sweep", "--out", "runs")
    assert done.code == 1 and "own.safetensors: is not the file that the plan was made with" in done.err
