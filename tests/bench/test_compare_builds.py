"""compare_builds.py sees what differs, and a build against itself differs in nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
SCRIPT = ROOT / "scripts" / "bench" / "compare_builds.py"
sys.path.insert(0, str(SCRIPT.parent))

from compare_builds import differences  # noqa: E402


def jsonl(*records: dict[str, object]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_every_kind_of_difference_has_a_line() -> None:
    one, two = {"id": "1", "execution": {"threads": 1}}, {"id": "2", "kl_nats": 0.5}
    before = {
        "a.wav": b"12345",
        "gone.wav": b"",
        "runs.jsonl": jsonl(one, two),
        "clip.json": b'{"file": "x"}',
    }
    assert differences(before, dict(before)) == []
    after = {
        "a.wav": b"1234x67",
        "new.wav": b"",
        "runs.jsonl": jsonl({"id": "1", "execution": {"threads": 2}}, {"id": "3"}),
        "clip.json": b'{"file":  "x"}',
    }
    assert differences(before, after) == [
        "gone.wav: is gone",
        "new.wav: is new",
        "a.wav: 3 bytes differ of 5 before, 7 after",
        "runs.jsonl: 1.execution.threads was 1 and is 2",
        "runs.jsonl: 2 is gone",
        "runs.jsonl: 3 is new",
        "clip.json: the same values in other bytes",
    ]


def test_a_build_with_another_seed_is_found_out(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with_seed = 'case "$*" in *" --prompts "*) set -- "$@" --seed 1 ;; esac'
    other.write_text(f'#!/bin/sh\n{with_seed}\nexec "{PROGRAM}" "$@"\n')
    other.chmod(0o755)
    done = subprocess.run(
        [sys.executable, SCRIPT, other, PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert {line.split(":")[0] for line in lines[:-1]} >= {"extracted.safetensors", "probe.safetensors"}
    assert not any(".wav" in line or "runs.jsonl" in line for line in lines[:-1])
    failing = subprocess.run([sys.executable, SCRIPT, "/bin/false", PROGRAM], capture_output=True, text=True)
    assert failing.returncode == 2 and "/false sweep --plan" in failing.stderr
