"""Calibrate the demo model to +-15 % of tempo and of brightness, and print the change on held-out clips.

    python scripts/bench/calibrate.py --bundle out/demo/bundle [--max-pairs 512] [--out calibration.json]

Steered by the bundle's own directions, as they were evaluated; prompts are prompts/neutral.json. Prints a
Markdown table with a row for each case; --out keeps what calibrate --json says. Exit code 1 if a target is
missed by more than five points.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
MEASURES = {"tempo": "tempo", "brightness": "centroid"}
CHANGES = ("+15%", "-15%")
COLUMNS = ("target", "alpha", "held-out mean", "change", "KL, nats a code", "pairs", "met")


def calibrate(arguments: argparse.Namespace, direction: str, target: str) -> dict[str, Any]:
    """What calibrate --json says, met or not."""
    command: list[str | Path] = [PROGRAM, "calibrate", "--model", arguments.bundle, "--steer", direction]
    command += ["--target", target, "--prompts", ROOT / "prompts" / "neutral.json"]
    command += ["--max-pairs", str(arguments.max_pairs), "--seed", str(arguments.seed)]
    command += ["--duration", str(arguments.duration), "--max-kl", str(arguments.max_kl), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        sys.exit(f"calibrate failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def row(target: str, found: dict[str, Any]) -> str:
    """A line of the table: held-out figures where the search found something."""
    if not found["reachable"]:
        return f"| {target} | {found['alphas'][0]:.4g} | out of reach | | | | no |"
    outcome, kl = found["evidence"]["targets"][0], found["evidence"]["kl_nats"]["value"]
    change = outcome["change"]
    cells = [
        target,
        f"{found['alphas'][0]:.4g}",
        f"{outcome['unsteered']:.1f} -> {outcome['value']['value']:.1f}",
        f"{change['value']:+.1%} [{change['low']:+.1%}, {change['high']:+.1%}]",
        f"{kl:.3f}",
        f"{found['evidence']['check']['pairs']}",
        "yes" if found["met"] else "no",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--max-pairs", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--duration", type=float, default=8.0)
    parser.add_argument("--max-kl", type=float, default=0.5)
    parser.add_argument("--out", type=Path, help="JSON with everything that was seen")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for direction, measure in MEASURES.items():
        for change in CHANGES:
            target = f"{measure}={change}"
            results[target] = calibrate(arguments, direction, target)
            print(row(target, results[target]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(found["met"] for found in results.values()) else 1)


if __name__ == "__main__":
    main()
