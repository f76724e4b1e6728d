"""Makes things step by step, and nothing twice: a step is remembered with what it was made from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


class StepError(Exception):
    """A step failed; the message is one sentence."""


@dataclass
class Step:
    """One thing to make. It is made again if its inputs or settings changed since it was finished.

    resumable: a stopped call is resumed, unless inputs or settings changed since.
    """

    name: str
    title: str
    inputs: list[Path]
    outputs: list[Path]
    settings: list[str]
    make: Callable[[], None]
    resumable: bool = False


def files_under(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, folders replaced by what is in them."""
    found: list[Path] = []
    for path in paths:
        found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [file for file in found if "__pycache__" not in file.parts]


def note_time(title: str) -> None:
    """Writes when a step began to the file that STEP_TIMES names, if it is set, as scripts/steps.sh does."""
    if name := os.environ.get("STEP_TIMES"):
        with open(name, "a", encoding="utf-8") as file:
            file.write(f"{time.time():.0f}\t{title}\n")


def times_table(text: str, end_s: float) -> str:
    """The lines of such a file as a table: how long each step took, until the next one or the end."""
    starts = [(float(line.split("\t")[0]), line.split("\t")[1]) for line in text.splitlines()]
    ends = [start for start, _ in starts[1:]] + [end_s]
    rows = [(end - start, title) for (start, title), end in zip(starts, ends, strict=True)]
    rows.append((sum(seconds for seconds, _ in rows), "all"))
    return "".join(f"  {int(s) // 60:2d} min {int(s) % 60:02d} s  {title}\n" for s, title in rows)


class Maker:
    """Runs steps, and remembers in `folder` what they were made from."""

    def __init__(self, folder: Path, elapsed_s: float):
        self.folder = folder
        self.start = time.monotonic() - elapsed_s

    def say(self, text: str) -> None:
        """A line with the time since the work was started."""
        print(f"[{time.monotonic() - self.start:4.0f} s] {text}", flush=True)

    def run(self, step: Step) -> None:
        """Make the step's outputs unless they are up to date.

        Raises:
            StepError: an output is there that no such step made, or the step itself failed.
        """
        stamp = self.folder / f"{step.name}.json"
        inputs = {
            str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files_under(step.inputs)
        }
        made_from = {"settings": step.settings, "inputs": inputs}
        before = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else None
        if before == made_from | {"finished": True} and all(path.exists() for path in step.outputs):
            return
        if before is None and (found := [path for path in step.outputs if path.exists()]):
            raise StepError(
                f"{found[0]} exists and was not made by this demo: remove it or give another --out"
            )
        self.say(step.title)
        note_time(step.title)
        goes_on = step.resumable and before == made_from | {"finished": False}
        if before is not None and not goes_on:  # what lies there is ours, and old or half made
            for path in step.outputs:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(made_from | {"finished": False}), encoding="utf-8")
        step.make()
        stamp.write_text(json.dumps(made_from | {"finished": True}), encoding="utf-8")


def call(command: list[str]) -> None:
    """Run a command without its results; its progress and its errors stay visible.

    Raises:
        StepError: it failed.
    """
    code = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    ).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise StepError(f"exit code {code} from: {' '.join(command)}")


def command_step(name: str, title: str, inputs: list[Path], output: Path, command: list[str]) -> Step:
    """A step that is one command with one output."""
    return Step(name, title, inputs, [output], command, lambda: call(command))
