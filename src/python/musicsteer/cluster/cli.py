"""`musicsteer cluster`: which engine runs the shards of a sweep."""

from __future__ import annotations

import sys
from importlib import import_module

USAGE = """usage: musicsteer cluster slurm|ray PLAN OUT --shards NUM ...
       musicsteer cluster merge OUT --shards NUM

Run the sweep of a plan file in shards on several machines, and merge them into
OUT.

  slurm  as a job array of SLURM
  ray    as tasks of Ray
  merge  what exists so far, without making more

See `musicsteer cluster slurm --help` for options."""
MODULES = {"slurm": "slurm_sweep", "ray": "ray_sweep", "merge": "merge_shards"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if not arguments or arguments[0] not in MODULES:
        problem = f"unknown engine '{arguments[0]}'" if arguments else "no engine given"
        print(
            f"error: {problem}: expected slurm, ray or merge (see musicsteer cluster --help)", file=sys.stderr
        )
        return 2
    return import_module(f"musicsteer.cluster.{MODULES[arguments[0]]}").main(arguments[1:])
