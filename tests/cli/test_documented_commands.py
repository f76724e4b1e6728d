"""Every command line in the documents names commands, scripts and flags that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from program import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def shell_lines(document: Path) -> list[list[str]]:
    """The commands in the document's shell blocks, split into words."""
    text = document.read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("|"):
                words = shlex.split(part, comments=True)
                if words:
                    found.append(words)
    return found


def command_lines(document: Path) -> list[list[str]]:
    """The calls of musicsteer, without its name."""
    return [words[1:] for words in shell_lines(document) if words[0] == "musicsteer"]


def script_lines(document: Path) -> list[list[str]]:
    """The calls of scripts of the repository, from the script's name on."""
    lines = [words[1:] if words[0] == ".venv/bin/python" else words for words in shell_lines(document)]
    return [words for words in lines if words and words[0].startswith(("scripts/", "tests/"))]


WITH_COMMANDS = [document for document in DOCUMENTS if command_lines(document)]

WITH_SCRIPTS = [document for document in DOCUMENTS if script_lines(document)]


@cache
def help_of_script(script: str) -> str:
    """What a script's --help prints."""
    call = [sys.executable, script] if script.endswith(".py") else [ROOT / script]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src" / "python")}
    done = subprocess.run([*call, "--help"], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def help_of(*command: str) -> str:
    """What a command's --help prints."""
    done = subprocess.run([PROGRAM, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_most_documents_have_commands() -> None:
    assert len(WITH_COMMANDS) >= 13 and len(WITH_SCRIPTS) >= 5


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_commands_and_flags_exist(document: Path) -> None:
    unknown = []
    for words in command_lines(document):
        if words[0] == "help":
            continue
        depth = 2 if words[0] in ("vector", "cluster") and words[1] != "merge" else 1
        text = help_of(*words[:depth])
        ours = words[: words.index("--")] if "--" in words else words
        flags = [re.match(r"-{1,2}[a-z][a-z-]*", word) for word in ours[depth:]]
        names = {flag.group(0) for flag in flags if flag}
        unknown += [
            f"{' '.join(words[:depth])} {name}"
            for name in sorted(names)
            if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)
        ]
    assert unknown == []


@pytest.mark.parametrize("document", WITH_SCRIPTS, ids=lambda path: path.name)
def test_scripts_and_their_flags_exist(document: Path) -> None:
    unknown = []
    for script, *words in script_lines(document):
        ours = words[: words.index("--")] if "--" in words else words
        text = help_of_script(script)
        flags = [re.match(r"--[a-z][a-z-]*", word) for word in ours]
        unknown += [
            f"{script} {flag.group(0)}"
            for flag in flags
            if flag and not re.search(rf"(?<![\w-]){flag.group(0)}(?![\w-])", text)
        ]
    assert unknown == []


def test_the_sweeps_of_documents_are_understood(tmp_path: Path) -> None:
    """Each call of scripts/sweeps reaches the program, for which `true` stands in."""
    calls = [words for document in WITH_SCRIPTS for words in script_lines(document)]
    sweeps = [words for words in calls if words[0].startswith("scripts/sweeps/")]
    assert len(sweeps) >= 5
    for script, *words in sweeps:
        done = subprocess.run(
            [ROOT / script, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"MUSICSTEER": "true"},
        )
        assert done.returncode == 0, (script, words, done.stderr)
