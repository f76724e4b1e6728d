"""Compare the speed of a sweep with generating clips one by one. Run it on an idle machine.

The same clips are made by `musicsteer sweep`, by a sweep with batches of one, and by a call of
`musicsteer generate` for each; all in one run, in that order, repeated. Prints the best of each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["piano music", "a synth lead with drums", "organ music", "a marimba groove with percussion"]


def timed(commands: list[list[str]]) -> float:
    """Seconds that the commands take, one after the other."""
    start = time.monotonic()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.monotonic() - start


def sweep(options: argparse.Namespace, out: Path, *flags: str) -> list[list[str]]:
    """4 prompts x seeds x 4 alphas, none of which is 0."""
    prompts = [argument for prompt in PROMPTS for argument in ("--prompt", prompt)]
    grid = [
        "--seeds",
        f"0:{options.clips // 16}",
        "--steer",
        str(options.steer),
        "--alphas=-0.4,-0.2,0.2,0.4",
    ]
    model = ["--model", str(options.model), "--duration", str(options.duration)]
    return [[str(options.program), "sweep", *model, *prompts, *grid, *flags, "--out", str(out)]]


def one_by_one(options: argparse.Namespace, out: Path) -> list[list[str]]:
    """A call of the program for each of the first clips of the same grid."""
    base = [
        str(options.program),
        "generate",
        "--model",
        str(options.model),
        "--duration",
        str(options.duration),
    ]
    return [
        [*base, "--prompt", PROMPTS[i % 4], "--seeds", str(i // 16), "--steer", str(options.steer),
         f"--alpha={[-0.4, -0.2, 0.2, 0.4][i // 4 % 4]}", "--out", str(out / f"{i}.wav")]
        for i in range(options.calls)
    ]  # fmt: skip


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "musicsteer")
    parser.add_argument("--model", type=Path, default=ROOT / "out" / "demo" / "bundle")
    parser.add_argument("--steer", type=Path, default=ROOT / "out" / "demo" / "tempo.safetensors")
    parser.add_argument("--clips", type=int, default=64, help="a multiple of 16 [64]")
    parser.add_argument("--calls", type=int, default=16, help="clips that are also made one by one [16]")
    parser.add_argument("--duration", type=float, default=8.0, help="seconds of each clip [8]")
    parser.add_argument("--repeat", type=int, default=2, help="number of runs; the best counts [2]")
    options = parser.parse_args()
    if options.clips < 16 or options.clips % 16 or not 1 <= options.calls <= options.clips:
        parser.error("--clips must be a multiple of 16, and --calls at most as many")

    seconds: dict[str, float] = {}
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            works = {
                "sweep": (sweep(options, folder / "sweep"), options.clips),
                "sweep, batches of 1": (sweep(options, folder / "ones", "--batch-size", "1"), options.clips),
                "generate, a call each": (one_by_one(options, folder), options.calls),
            }
            for title, (commands, clips) in works.items():
                taken = timed(commands) / clips
                seconds[title] = min(taken, seconds.get(title, taken))
    print(
        f"{options.clips} clips of {options.duration:g} s on {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for title, taken in seconds.items():
        print(f"{title:24}{60 / taken:8.1f} clips/min{taken / seconds['sweep']:8.2f} x the sweep's time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
