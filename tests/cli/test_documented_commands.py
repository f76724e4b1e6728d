"""Every command line in the documents names commands and flags that the program has."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
from program import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(document: Path) -> list[list[str]]:
    """The calls of musicsteer in the document's shell blocks, split into words."""
    text = document.read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("|"):
                words = shlex.split(part, comments=True)
                if words and words[0] == "musicsteer":
                    found.append(words[1:])
    return found


WITH_COMMANDS = [document for document in DOCUMENTS if command_lines(document)]


@cache
def help_of(*command: str) -> str:
    """What a command's --help prints."""
    done = subprocess.run([PROGRAM, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_most_documents_have_commands() -> None:
    assert len(WITH_COMMANDS) >= 13


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
