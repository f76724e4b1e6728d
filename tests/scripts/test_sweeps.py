"""The ready sweeps of scripts/sweeps, from another folder and with a stand-in for the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = ROOT / "scripts" / "sweeps"
NAMES = ["strength.sh", "layers.sh", "strategies.sh", "prompts-count.sh"]

# Says what it was called with; "extract" makes its file, as the program does.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
if [[ $1 == extract ]]; then
    mkdir -p "$(dirname "${@: -1}")"
    touch "${@: -1}"
fi
"""


def run(folder: Path, script: str, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Exit code, the program's calls, and what was printed."""
    program = folder / "musicsteer"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    calls = folder / "calls"
    calls.unlink(missing_ok=True)
    environment = {**os.environ, "MUSICSTEER": str(program), "CALLS": str(calls), **variables}
    done = subprocess.run(
        [SWEEPS / script, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    return (
        done.returncode,
        calls.read_text().splitlines() if calls.exists() else [],
        done.stdout + done.stderr,
    )


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_it_is_for(tmp_path: Path, name: str) -> None:
    code, calls, text = run(tmp_path, name, "--help")
    assert code == 0 and calls == [] and f"scripts/sweeps/{name}" in text and "--alphas LIST" in text


@pytest.mark.parametrize("name", NAMES[:3])
def test_defaults_are_the_demo_models(tmp_path: Path, name: str) -> None:
    code, calls, text = run(tmp_path, name)
    assert code == 0 and len(calls) == 1, text
    assert calls[0].startswith(f"sweep --model {ROOT}/out/demo/bundle --prompts {ROOT}/prompts/neutral.json")
    assert f"--out {ROOT}/out/sweeps/{name.removesuffix('.sh')}" in calls[0] and "--alphas=-0." in calls[0]
    assert f"--steer {ROOT}/out/demo/brightness.safetensors" in calls[0]


def test_arguments_and_environment(tmp_path: Path) -> None:
    code, calls, text = run(
        tmp_path, "layers.sh", "--model", "b", "--alphas", "-1:1:1", "--out", "runs", "--", "--dry-run",
        SEEDS="0:2", STEER="v.safetensors",
    )  # fmt: skip
    assert code == 0, text
    assert calls == [
        f"sweep --model b --prompts {ROOT}/prompts/neutral.json --limit 4 --seeds 0:2 "
        "--steer v.safetensors --alphas=-1:1:1 --out runs "
        "--strategies single,per-layer --layers all --dry-run"
    ]
    code, calls, text = run(tmp_path, "layers.sh", "--alpha", "1")
    assert code == 2 and calls == [] and "unknown option '--alpha'" in text


def test_prompts_count_extracts_once(tmp_path: Path) -> None:
    arguments = ["prompts-count.sh", "--out", "runs"]
    code, calls, text = run(tmp_path, *arguments, COUNTS="5 10")
    assert code == 0, text
    assert [call.split()[0] for call in calls] == ["extract", "sweep", "extract", "sweep"]
    assert (
        "--limit 5 " in calls[0] and "--steer runs/5.safetensors" in calls[1] and "--out runs/5 " in calls[1]
    )
    code, calls, text = run(tmp_path, *arguments, COUNTS="5 10")
    assert [call.split()[0] for call in calls] == ["sweep", "sweep"]


def test_a_missing_program_is_said(tmp_path: Path) -> None:
    code, calls, text = run(tmp_path, "strength.sh", MUSICSTEER=str(tmp_path / "nowhere"))
    assert code == 2 and calls == [] and "scripts/setup.sh" in text


def test_values_may_follow_an_equals_sign(tmp_path: Path) -> None:
    code, calls, text = run(tmp_path, "strength.sh", "--alphas=-1,0,1", "--out=a=b", "--", "--duration=4")
    assert code == 0, text
    assert "--alphas=-1,0,1 --out a=b " in calls[0] and calls[0].endswith(" --duration=4")
    code, calls, text = run(tmp_path, "strength.sh", "--alpha=1")
    assert code == 2 and calls == [] and "unknown option '--alpha'" in text


def test_an_installed_program_is_found_without_a_build(tmp_path: Path) -> None:
    shutil.copytree(SWEEPS, tmp_path / "repository" / "scripts" / "sweeps")
    script = tmp_path / "repository" / "scripts" / "sweeps" / "strength.sh"
    path = f"{tmp_path}:{os.environ['PATH']}"
    code, calls, text = run(tmp_path, str(script), MUSICSTEER="", PATH=path)
    assert code == 0 and len(calls) == 1, text
    built = tmp_path / "repository" / "build" / "musicsteer"
    built.parent.mkdir()
    built.write_text("#!/bin/sh\nexit 7\n")
    built.chmod(0o755)
    code, calls, text = run(tmp_path, str(script), MUSICSTEER="", PATH=path)
    assert code == 7 and calls == [], "a build of the repository comes first"
