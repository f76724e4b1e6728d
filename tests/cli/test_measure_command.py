"""`--measure-command`: measures of one's own in each command, and commands that misbehave."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import ROOT, Runner
from sweeps import records

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "measures.md").read_text(), re.DOTALL)[1]
SHORT = ["--duration", "0.1", "--threads", "1"]


def command(folder: Path, source: str) -> str:
    (folder / "my.py").write_text(source)
    return f"{sys.executable} my.py"


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    """Two clips whose second halves are twice and half as loud, and a silent one."""
    for name, gains in {"up": (0.1, 0.2), "down": (0.2, 0.1), "silent": (0, 0)}.items():
        noise = np.random.default_rng(1).uniform(-1, 1, 8000)
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate([gain * noise for gain in gains]), 16000)
    return ["up.wav", "down.wav", "silent.wav"]


def test_the_documented_example(musicsteer: Runner, clips: list[str], tmp_path: Path) -> None:
    mine = ["--measure-command", command(tmp_path, EXAMPLE)]
    done = musicsteer("measure", *clips, "--json", *mine)
    assert done.code == 0, done.err
    rises = [record["rise_db"] for record in json.loads(done.out)]
    assert rises[:2] == pytest.approx([20 * np.log10(2), -20 * np.log10(2)], abs=0.01) and rises[2] is None
    table = musicsteer("measure", *clips, *mine).out.splitlines()
    assert table[0].split()[-2:] == ["rise_db", "file"] and table[3].split()[-2:] == ["-", "silent.wav"]
    rows = list(csv.DictReader(io.StringIO(musicsteer("measure", *clips, "--csv", *mine).out)))
    assert [row["rise_db"] for row in rows][2] == "" and float(rows[0]["rise_db"]) == rises[0]


def test_in_a_sweep(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    mine = ["--measure-command", command(tmp_path, EXAMPLE)]
    base = ["sweep", "--model", bundle, "--prompt", "piano", "--steer", vectors, "--alphas", "0,1", *SHORT]
    done = musicsteer(*base, "--seeds", "0:2", *mine, "--out", "runs")
    assert done.code == 0, done.err
    found = records(tmp_path / "runs")
    assert len(found) == 4
    for record in found:
        measured = musicsteer("measure", tmp_path / "runs" / record["file"], "--json", *mine)
        assert json.loads(measured.out)[0]["rise_db"] == record["measures"]["rise_db"]
    with (tmp_path / "runs" / "runs.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert all(float(rows[r["id"]]["rise_db"]) == r["measures"]["rise_db"] for r in found)
    assert json.loads((tmp_path / "runs" / "plan.json").read_text())["measure_command"] == mine[1]
    # Resuming: with the same command; without it, or with another one, refused.
    assert musicsteer("sweep", "--out", "runs", *mine).code == 0
    without = musicsteer("sweep", "--out", "runs")
    assert without.code == 2 and "was begun with --measure-command" in without.err
    other = ["--measure-command", mine[1] + " --other"]
    refused = musicsteer(*base, "--seeds", "0:3", *other, "--out", "runs")
    assert refused.code == 2 and "was begun with --measure-command" in refused.err
    # Clips that are no files are measured alike.
    memory = musicsteer(*base, "--seeds", "0:2", "--no-audio", *mine, "--out", "memory")
    assert memory.code == 0, memory.err
    by_id = {record["id"]: record["measures"] for record in found}
    assert {record["id"]: record["measures"] for record in records(tmp_path / "memory")} == by_id


def test_study_and_calibrate_know_its_names(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    mine = ["--measure-command", command(tmp_path, EXAMPLE)]
    base = ["--model", bundle, "--prompt", "x", "--steer", vectors, *SHORT]
    unknown = musicsteer("study", *base, *mine, "--measure", "rise", "--out", "s")
    assert unknown.code == 2 and "unknown measure 'rise' (known: rise_db, tempo" in unknown.err
    unknown = musicsteer("calibrate", *base, "--target", "rise_db=2")
    assert unknown.code == 2 and "unknown measure 'rise_db'" in unknown.err
    done = musicsteer(
        "calibrate", *base, *mine, "--target", "rise_db=2", "--pairs", "8", "--check-pairs", "8", "--json"
    )
    assert done.code in (0, 1) and '"measure": "rise_db"' in done.out, done.err


def test_study_and_calibrate_start_it_once(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """It may load a model first, and a study is several sweeps."""
    mine = ["--measure-command", command(tmp_path, "open('starts', 'a').write('x')\n" + EXAMPLE)]
    base = ["--model", bundle, "--prompt", "x", "--prompt", "y", "--steer", vectors, *mine, *SHORT]
    flags = ["--measure", "rise_db", "--seeds", "0:8", "--controls", "4", "--no-audio", "--out", "s"]
    done = musicsteer("study", *base, *flags)
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "s" / "study.json").read_text())
    assert result["measure"] == "rise_db" and (tmp_path / "starts").read_text() == "x"
    few = ["--pairs", "4", "--check-pairs", "4", "--target", "rise_db=2"]
    found = musicsteer("calibrate", *base, *few, "--json")
    assert found.code in (0, 1) and "rise_db" in found.out, found.err
    assert (tmp_path / "starts").read_text() == "xx"


ANSWERS = {
    "dies": ("import sys; sys.exit(3)", "no answer for .*: it ended with exit code 3"),
    "not there": (None, "no answer for .*: it ended with exit code 127"),
    "no JSON": ("[print('hello') for _ in sys.stdin]", "expected a JSON object of numbers .*found 'hello'"),
    "NaN": ("[print(json.dumps({'a': float('nan')})) for _ in sys.stdin]", "NaN is not JSON"),
    "text": ("[print(json.dumps({'a': 'b'})) for _ in sys.stdin]", "expected a number or null for a of"),
    "empty": ("[print('{}') for _ in sys.stdin]", "it measures nothing"),
    "two lines": ("[print('{\"a\": 1}\\n{\"a\": 2}') for _ in sys.stdin]", "expected one line for"),
    "a name of ours": ("[print('{\"tempo\": 1}') for _ in sys.stdin]", "the name 'tempo' is taken"),
    "a field of ours": ("[print('{\"rms\": 1}') for _ in sys.stdin]", "the name 'rms' is taken"),
    "a column of runs.csv": ("[print('{\"seed\": 1}') for _ in sys.stdin]", "the name 'seed' is taken"),
    "an odd name": ("[print('{\"a b\": 1}') for _ in sys.stdin]", "may have a-z, 0-9 and _ only, found"),
    "other names": (
        "[print(json.dumps({'ab'[i > 0]: 1})) for i, _ in enumerate(sys.stdin)]",
        "names other measures than its first answer",
    ),
    "too few": ("print('{\"a\": 1}'); sys.stdin.readline()", "no answer for up.wav"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_misbehaves_is_told_in_a_sentence(
    name: str, musicsteer: Runner, clips: list[str], tmp_path: Path
) -> None:
    source, expected = ANSWERS[name]
    run = "no-such-command" if source is None else command(tmp_path, f"import json, sys\n{source}\n")
    done = musicsteer("measure", *clips, "--measure-command", run)
    assert done.code == 1 and done.out == ""
    assert re.search(expected, done.errors[-1]), done.err
    assert done.errors[-1].startswith(f"error: --measure-command '{run}"[:40])


@pytest.mark.parametrize(
    "source",
    ["import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "import threading; flood = True"],
    ids=["that ignores SIGTERM", "that never stops printing"],
)
def test_a_command_that_will_not_end_is_killed(
    source: str, musicsteer: Runner, clips: list[str], tmp_path: Path
) -> None:
    source += "\nimport sys, time\nfor _ in sys.stdin: print('{\"a\": 1}', flush=True)\n"
    source += "while True:\n    print('more') if 'flood' in globals() else time.sleep(1)\n"
    start = time.monotonic()
    done = musicsteer("measure", *clips, "--measure-command", command(tmp_path, source))
    assert done.code == 0, done.err
    assert time.monotonic() - start < 15


def test_a_sweep_ends_with_its_command_and_goes_on(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    dying = "import sys, os\nfor i, _ in enumerate(sys.stdin):\n"
    dying += "    print('{\"a\": 1}') if i < 2 or os.path.exists('well') else sys.exit(1)\n"
    mine = ["--measure-command", command(tmp_path, dying)]
    base = ["sweep", "--model", bundle, "--prompt", "x", "--seeds", "0:3", *SHORT, *mine, "--out", "runs"]
    ended = musicsteer(*base)
    assert ended.code == 1 and "it ended with exit code 1" in ended.errors[-1]
    assert len(records(tmp_path / "runs")) == 1
    (tmp_path / "well").touch()
    assert musicsteer(*base).code == 0
    assert len(records(tmp_path / "runs")) == 3
