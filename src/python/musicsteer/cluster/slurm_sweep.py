#!/usr/bin/env python3
"""Run a sweep as a SLURM job array, one task for each shard, then merge the shards into OUT."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from musicsteer.cluster.shards import ClusterError, ShardedSweep, add_arguments, open_sweep, positive

HERE = Path(__file__).resolve().parent

EXAMPLES = """
PLAN must state batch_size and threads; each task asks for that many CPUs. Options after -- go to sbatch, for
both jobs. PLAN, OUT, the model, the vectors and this installation must be on paths that all machines share. A
shard that is killed, or reaches its time limit, is queued again and resumes where it stopped. The same
command resumes an incomplete sweep.

examples:
  musicsteer cluster slurm plan.json runs/tempo --shards 16
  musicsteer cluster slurm plan.json runs/tempo --shards 64 --wait -- --partition=cpu --time=2:00:00
"""


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and those of sbatch."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        prog="musicsteer cluster slurm",
        usage="%(prog)s PLAN OUT --shards N [--measure-command COMMAND] [--at-once M] [--wait] "
        "[-- SBATCH OPTIONS]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.add_argument(
        "--at-once", metavar="M", type=positive, help="shards that run at the same time, at most"
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait until everything is done; the exit code says whether the sweep is complete",
    )
    return parser.parse_args(arguments[:end]), arguments[end + 1 :]


def log_option(path: Path) -> str:
    """Where a job's output goes; % is special there."""
    return "--output=" + str(path).replace("%", "%%")


def array_command(sweep: ShardedSweep, at_once: int | None, extra: list[str]) -> list[str]:
    """What submits the shards. The user's options come first, so that ours hold where both say something."""
    limit = f"%{at_once}" if at_once else ""
    shards = str(sweep.out / "shards").replace("%", "%%")
    return [
        "sbatch", *extra, "--parsable", f"--array=1-{sweep.count}{limit}", "--ntasks=1",
        f"--cpus-per-task={sweep.threads}", f"--chdir={Path.cwd()}", f"--output={shards}/%a.log",
        str(HERE / "shard.sbatch"), str(sweep.program), sweep.plan, str(sweep.out), str(sweep.count),
        *sweep.flags,
    ]  # fmt: skip


def merge_command(sweep: ShardedSweep, array: str, wait: bool, extra: list[str]) -> list[str]:
    """What submits the merge. It runs when all shards have ended, well or not."""
    python = [sys.executable, str(HERE / "merge_shards.py"), str(sweep.out), "--shards", str(sweep.count)]
    return [
        "sbatch", *extra, *(["--wait"] if wait else []), "--parsable", "--job-name=musicsteer-merge",
        f"--dependency=afterany:{array}", "--ntasks=1", "--cpus-per-task=1", "--requeue",
        f"--chdir={Path.cwd()}", log_option(merge_log(sweep)), "--open-mode=truncate",
        "--wrap", shlex.join(["env", f"MUSICSTEER={sweep.program}", *python]),
    ]  # fmt: skip


def merge_log(sweep: ShardedSweep) -> Path:
    """The log of the merge."""
    return sweep.out / "shards" / "merge.log"


def job_id(process: subprocess.Popen[str]) -> str:
    """The ID that sbatch prints at once, even if it waits afterwards."""
    assert process.stdout is not None
    identifier = process.stdout.readline().strip().split(";")[0]
    if not identifier:
        process.wait()
        raise ClusterError("sbatch submitted nothing; see its messages above")
    return identifier


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start sbatch; its errors go to our stderr."""
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise ClusterError("sbatch not found: run this on a machine that can submit jobs") from None


def submit(sweep: ShardedSweep, at_once: int | None, wait: bool, extra: list[str]) -> int:
    """Submit both jobs and say which they are. Returns the merge's exit code, 0 without `wait`."""
    with start(array_command(sweep, at_once, extra)) as process:
        array = job_id(process)
    try:
        merging = start(merge_command(sweep, array, wait, extra))
        merge_id = job_id(merging)
    except ClusterError:
        subprocess.run(["scancel", array], check=False)
        raise
    print(f"job {array}: {sweep.count} shards, {sweep.threads} CPUs each; logs in {sweep.out}/shards/N.log")
    print(f"job {merge_id}: merges them into {sweep.out}; log in {merge_log(sweep)}", flush=True)
    if not wait:
        print(f"look: squeue --jobs {array},{merge_id}    stop: scancel {array} {merge_id}")
        print("if clips are missing at the end, the merge's log says which, and the same command makes them")
    code = merging.wait()
    if wait:
        print(merge_log(sweep).read_text(encoding="utf-8"), end="")
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; failures are one line."""
    options, extra = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        sweep = open_sweep(options.plan, options.out, options.shards, options.measure_command)
        return 1 if submit(sweep, options.at_once, options.wait, extra) else 0
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; submitted jobs keep running", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
