"""Measure how soon and how steadily a streamed clip plays (`generate --out -`).

    python scripts/bench/live.py out/demo/bundle FOLDER/f32 FOLDER/int8

Each argument is a bundle; against_transformers.py leaves those of musicgen-small's shape in its folder.
Run it on an idle machine. For each bundle:

    first sound   seconds from the request to the first piece of sound, with the model loaded
    real time     seconds of sound that are made in a second; players pause where it is below 1
    p50, p99      milliseconds that a frame takes, decoding included; the frame itself lasts `frame` ms
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine

ROOT = Path(__file__).resolve().parents[2]


def percentile(values: list[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(options: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    """One clip of the bundle's model."""
    codec = json.loads((bundle / "manifest.json").read_text("utf-8"))["codec"]
    job = {
        "bundle": str(bundle),
        "threads": options.threads,
        "live": {"frames": round(options.duration * codec["frame_rate_hz"])},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        done = subprocess.run([options.program, file.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {bundle}: {done.stderr.strip()}")
    live = json.loads(done.stdout)["live"]
    frames = live["frame_s"]
    return {
        "bundle": bundle.name,
        "first sound (s)": f"{live['first_sound_s']:.2f}",
        "real time": f"{options.duration / sum(frames):.2f}",
        "frame (ms)": f"{1000 / codec['frame_rate_hz']:.0f}",
        "p50 (ms)": f"{1000 * percentile(frames, 0.5):.1f}",
        "p99 (ms)": f"{1000 * percentile(frames, 0.99):.1f}",
    }


def main() -> int:
    """Measure each bundle and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of sound")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each physical core")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "tests" / "engine_times")
    options = parser.parse_args()
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    rows = [measure(options, bundle) for bundle in options.bundles]
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    print("\n" + "  ".join(key.rjust(width) for key, width in widths.items()))
    for row in rows:
        print("  ".join(row[key].rjust(width) for key, width in widths.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
