"""Records are JSON, which needs UTF-8: what is not is refused before any work, in every command."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import Runner
from test_command_line import COMMANDS

ODD = os.fsdecode(b"t\xe9mpo")
FLAG_OF_A_PATH = re.compile(r"^  (?:-\w(?: [A-Z]+)?, ?)?(--[\w-]+) (?:FILE|DIR|PATH)\b", re.MULTILINE)
WITHOUT_SUCH_FLAGS = ("inspect", "measure", "check-precision", "cluster", "cluster slurm", "cluster merge")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ("", "vector")])
def test_a_path_that_is_no_utf8(musicsteer: Runner, tmp_path: Path, command: str) -> None:
    words = command.split()
    flags = FLAG_OF_A_PATH.findall(musicsteer(*words, "--help").out)
    assert flags or command in WITHOUT_SUCH_FLAGS
    arguments = [[flag, ODD] for flag in flags] + [[f"{flag}=d/{ODD}.json"] for flag in flags] + [[ODD]]
    for argument in arguments:
        done = musicsteer(*words, *argument, errors="replace")
        assert done.code == 2 and len(done.err.splitlines()) == 1, (argument, done.err)
        assert "is not UTF-8, and records can't hold it; rename the file" in done.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_recording_whose_name_is_no_utf8_is_skipped(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    for side, pitch in (("fast", 5), ("slow", 9)):
        (tmp_path / side).mkdir()
        for name in ("1", "2", ODD):
            with open(tmp_path / side / f"{name}.wav", "wb") as file:
                soundfile.write(file, 0.1 * np.sin(np.arange(8000) / pitch), 16000, format="WAV")
    folders = ["--positive-audio", "fast", "--negative-audio", "slow"]
    done = musicsteer(
        "extract", "--model", bundle, *folders, "--duration", "0.5", "--threads", "1", "--out", "t.st",
        errors="replace",
    )  # fmt: skip
    assert done.code == 0 and "its name is not UTF-8: rename it" in done.err
    assert "2 files skipped, 4 recordings used" in done.err
