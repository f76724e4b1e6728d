"""Merge the shards of a sweep that ran on a cluster, as the last job of slurm_sweep.py does."""

from __future__ import annotations

import sys
from pathlib import Path

from musicsteer.cluster.shards import ClusterError, find_program, merge, positive
from musicsteer.command_parser import command_parser


def main(arguments: list[str] | None = None) -> int:
    """Merge, and name the shards that are not complete."""
    parser = command_parser("cluster merge", "Merge the shards of a sweep that ran on a cluster into OUT.")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the sweep, which holds shards/")
    parser.add_argument("--shards", metavar="NUM", type=positive, required=True, help="number of shards")
    options = parser.parse_args(arguments)
    try:
        print(merge(find_program(), options.out, options.shards))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
