#!/usr/bin/env python3
"""Run a sweep on Ray, one task for each shard, and merge the shards into OUT."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from musicsteer.cluster.shards import (
    ClusterError,
    ShardedSweep,
    add_arguments,
    count_clips,
    merge,
    open_sweep,
    positive,
)

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    import ray.exceptions
except ImportError:
    sys.exit("error: Ray is not installed: pip install ray==2.60.0")

OBJECT_STORE_BYTES = 80 * 1024 * 1024  # about the least that Ray takes; only exit codes go through it
PROGRESS_EVERY_S = 10.0

EXAMPLES = """
PLAN must state batch_size and threads; each task asks for that many CPUs. PLAN, OUT, the model, the vectors
and this installation must be on paths that all machines share. A shard whose worker or machine dies is
started again and resumes where it stopped. The same command resumes an incomplete sweep.

examples:
  musicsteer cluster ray plan.json runs/tempo --shards 16 --address auto
  musicsteer cluster ray plan.json runs/tempo --shards 4      # on this machine alone
"""


class ShardKilled(Exception):
    """The program was ended by a signal: the task is worth another try."""


def run_shard(command: list[str], folder: str, log: str) -> int:
    """A task: run the program, in `folder` and with its output appended to `log`. Returns its exit code.

    Uses nothing of this repository, so that workers need not find it to unpickle the task. The program dies
    with its worker, or it would hold the shard's lock against the worker's successor.
    """
    with open(log, "ab") as output:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode < 0:
        raise ShardKilled(f"the program was ended by signal {-done.returncode}")
    return done.returncode


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="musicsteer cluster ray",
        usage="%(prog)s PLAN OUT --shards N [--measure-command COMMAND] [--address ADDRESS | --cpus M] "
        "[--retries R]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--address", help="a running Ray: auto, or HOST:PORT [RAY_ADDRESS, else a new one on this machine]"
    )
    where.add_argument("--cpus", metavar="M", type=positive, help="CPUs of a new Ray [all of this machine]")
    parser.add_argument(
        "--retries", metavar="R", type=positive, default=3, help="restarts of a killed shard [%(default)s]"
    )
    return parser.parse_args(arguments)


def connect(address: str | None, cpus: int | None) -> None:
    """Join a Ray, or start one that ends with this process."""
    address = address or (None if cpus else os.environ.get("RAY_ADDRESS"))
    own: dict[str, Any] = {
        "address": "local",
        "num_cpus": cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(**({"address": address} if address else own), **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray at {address or 'this machine'}: {str(error).splitlines()[0]}") from error


def check_room(threads: int) -> None:
    """Refuse tasks too large for every machine; Ray would wait forever."""
    largest = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if largest < threads:
        raise ClusterError(
            f"a shard takes {threads} CPUs, the plan's threads, and Ray's largest machine has {largest:g}"
        )


@dataclass
class Progress:
    """Lines on stderr: when a shard ends, and every few seconds the number of clips."""

    sweep: ShardedSweep
    ended: int = 0
    told_s: float = field(default_factory=time.monotonic)
    clips: int = -1

    def say(self, text: str) -> None:
        """A line."""
        print(text, file=sys.stderr, flush=True)

    def shard_ended(self, shard: int, how: str) -> None:
        """A task is over."""
        self.ended += 1
        self.say(f"shard {shard} {how} ({self.ended} of {self.sweep.count} ended)")

    def tick(self) -> None:
        """Report clips, if it is time and there are new ones."""
        if time.monotonic() - self.told_s < PROGRESS_EVERY_S:
            return
        self.told_s = time.monotonic()
        clips = count_clips(self.sweep.out, self.sweep.count)
        if clips != self.clips:
            self.clips = clips
            self.say(f"{clips} clips there")


def outcome(reference: Any) -> str:
    """How a task ended, in words."""
    try:
        code = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return f"failed: {error.cause}"
    except ray.exceptions.RayError as error:
        return f"failed: {str(error).splitlines()[0]}"
    return "is done" if code == 0 else f"failed (exit code {code})"


def run_shards(sweep: ShardedSweep, retries: int) -> None:
    """Run every shard to its end. The merge shows what is missing."""
    task = ray.remote(run_shard).options(
        num_cpus=sweep.threads, max_retries=retries, retry_exceptions=[ShardKilled], name="musicsteer shard"
    )
    here = os.getcwd()
    shard_of = {
        task.remote(sweep.command(shard), here, str(sweep.log(shard))): shard
        for shard in range(1, sweep.count + 1)
    }
    progress = Progress(sweep)
    waiting = list(shard_of)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=1.0)
        for reference in ready:
            progress.shard_ended(shard_of[reference], outcome(reference))
        progress.tick()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; failures are one line."""
    options = parse_arguments(arguments)
    try:
        sweep = open_sweep(options.plan, options.out, options.shards, options.measure_command)
        with contextlib.redirect_stdout(sys.stderr):  # where Ray tells of dead workers
            connect(options.address, options.cpus)
            check_room(sweep.threads)
            run_shards(sweep, options.retries)
            ray.shutdown()
        print(merge(sweep.program, sweep.out, sweep.count))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command resumes it", file=sys.stderr)
        return 130
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
