"""A sweep in shards: OUT/shards/1 ... OUT/shards/N, each a sweep of its own, merged into OUT.

What slurm_sweep.py and ray_sweep.py share. Nothing here depends on an engine, and all state is in the sweeps'
own folders, so every command can be repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicsteer.program import program_path
from musicsteer.wording import counted, is_or_are

ID_DIGITS = 15  # of a clip's ID, which say what shard it is in (docs/formats.md)


class ClusterError(Exception):
    """The sweep cannot be run or is not complete; the message is one sentence: where, what, what to do."""


@dataclass(frozen=True)
class ShardedSweep:
    """Where the parts of a sweep lie.

    plan: as it was typed, because the records name vector files as they are found from there.
    measure_command: typed as well, because a plan's own is never run; "" if there is none.
    """

    plan: str
    out: Path
    count: int
    threads: int
    program: Path
    measure_command: str = ""

    def folder(self, shard: int) -> Path:
        """Where a shard's clips go; shards count from 1."""
        return shard_folder(self.out, shard)

    def log(self, shard: int) -> Path:
        """The log of a shard's runs."""
        return shard_log(self.out, shard)

    @property
    def flags(self) -> list[str]:
        """What every run of the program is given besides its plan, shard and folder."""
        return ["--measure-command", self.measure_command] if self.measure_command else []

    def command(self, shard: int) -> list[str]:
        """The command that makes or resumes a shard."""
        return [
            str(self.program), "sweep", "--plan", self.plan,
            "--shard", f"{shard}/{self.count}", "--out", str(self.folder(shard)), *self.flags,
        ]  # fmt: skip


def shard_folder(out: Path, shard: int) -> Path:
    """The folder of a shard's sweep."""
    return out / "shards" / str(shard)


def shard_log(out: Path, shard: int) -> Path:
    """The log of a shard's runs."""
    return out / "shards" / f"{shard}.log"


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that all engines have."""
    parser.add_argument("plan", metavar="PLAN", help="plan file of the sweep, with batch_size and threads")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the sweep, on a shared path")
    parser.add_argument(
        "--shards", metavar="NUM", type=positive, required=True, help="parts to split the sweep into"
    )
    parser.add_argument(
        "--measure-command",
        metavar="COMMAND",
        default="",
        help="measures of your own, as of `musicsteer sweep` (docs/measures.md)",
    )


def find_program() -> Path:
    """The program, which must be on a path that all machines share."""
    program = Path(program_path()).resolve()
    if not os.access(program, os.X_OK):
        raise ClusterError(f"the program is missing: run scripts/setup.sh (looked for {program})")
    return program


def open_sweep(plan: str, out: Path, count: int, measure_command: str = "") -> ShardedSweep:
    """The sweep, checked for everything that would make each of its shards fail.

    Raises:
        ClusterError: the plan cannot be run as it is, or what is in `out` belongs to another one.
    """
    program = find_program()
    threads = read_threads(plan)
    check_split(out, count)
    sweep = ShardedSweep(plan, out.absolute(), count, threads, program, measure_command)
    dry_run([str(program), "sweep", "--plan", plan, "--out", str(sweep.out), *sweep.flags])
    for shard in range(1, count + 1):
        if (sweep.folder(shard) / "plan.json").exists():
            dry_run(sweep.command(shard))
    try:
        (sweep.out / "shards").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(f"{sweep.out}/shards: cannot be made: {error.strerror}") from error
    return sweep


def read_threads(plan: str) -> int:
    """The threads that the plan says a run has; it has to say a batch size as well.

    By default both follow the memory and cores of the machine, and a clip's last bits follow them.
    """
    content = read_json(Path(plan))
    settings = content.get("execution", content)  # in a folder's plan.json, in a plan written by hand
    absent = [key for key in ("batch_size", "threads") if key not in settings]
    if absent:
        raise ClusterError(
            f"{plan} must set {' and '.join(absent)}: their defaults differ between machines. Add for "
            'example "batch_size": 16, "threads": 4 (threads are also the CPUs that each shard asks for)'
        )
    threads = settings["threads"]
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ClusterError(f"{plan}: threads: expected a number from 1, found {json.dumps(threads)}")
    return threads


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClusterError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ClusterError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ClusterError(f"{path}: expected a JSON object with the settings of a sweep")
    return content


def check_split(out: Path, count: int) -> None:
    """Refuse shards of an earlier split into another number."""
    for path in sorted(out.glob("shards/*/plan.json")):
        earlier = read_json(path).get("shard", {}).get("count", 1)
        if earlier != count:
            raise ClusterError(
                f"{out}: was begun with --shards {earlier}, and this is --shards {count}: keep that number, "
                "or choose another folder"
            )


def dry_run(command: list[str]) -> None:
    """Let the program check its input, and say what it says."""
    done = subprocess.run(
        [*command, "--dry-run"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise ClusterError(last_error(done.stderr) or f"{command[0]} sweep failed ({done.returncode})")


def last_error(text: str) -> str:
    """The program's last error in what it printed; empty if there is none."""
    errors = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    return errors[-1] if errors else ""


def count_clips(out: Path, count: int) -> int:
    """Number of clips that the shards have so far."""
    clips = 0
    for shard in range(1, count + 1):
        try:
            clips += (shard_folder(out, shard) / "runs.jsonl").read_bytes().count(b"\n")
        except OSError:
            continue  # not begun
    return clips


def merge(program: Path, out: Path, count: int) -> str:
    """Join what the shards hold into `out`, and say what came of it.

    Raises:
        ClusterError: clips are missing (what is there is merged all the same), or the merge failed. The
            message has a line for each shard that lacks clips.
    """
    folders = [shard_folder(out, shard) for shard in range(1, count + 1)]
    begun = [str(folder) for folder in folders if (folder / "plan.json").exists()]
    if not begun:
        raise ClusterError(f"{out}: no shard has made anything{why(out, range(1, count + 1))}")
    command = [str(program), "sweep", "--merge", *begun, "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    try:
        summary = json.loads(done.stdout)
    except ValueError:
        raise ClusterError(last_error(done.stderr) or f"the merge failed ({done.returncode})") from None
    if not summary["missing"]:
        return f"{out}: {counted(summary['clips'], 'clip')}, all there"
    lacking = Counter(int(clip["id"][:ID_DIGITS], 16) % count + 1 for clip in summary["missing"])
    missing = f"{counted(lacking.total(), 'clip')} of {summary['clips']} {is_or_are(lacking.total())} missing"
    raise ClusterError(
        f"{out}: {missing}; the others are merged, and the same command tries again"
        f"{why(out, sorted(lacking), lacking)}"
    )


def why(out: Path, shards: range | list[int], lacking: Counter[int] | None = None) -> str:
    """A line for each shard: how many clips it lacks, the last error in its log, and where that is."""
    lines = []
    for shard in shards:
        line = f"shard {shard}"
        if lacking:
            line += f" lacks {counted(lacking[shard], 'clip')}"
        log = shard_log(out, shard)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        lines.append(f"\n  {line}: {last_error(text) or 'was killed, or never started'} (log: {log})")
    return "".join(lines)
