"""Times `musicsteer measure` on one core: seconds of audio measured in a second, for clips of several rates.

usage: .venv/bin/python scripts/bench/measure.py [--program build/musicsteer] [--duration 30] [--clips 8]

The time of a run with almost no audio is subtracted, so that the figures do not include starting the program.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATES_HZ = (16000, 22050, 32000, 44100, 48000)
REPEATS = 3


def processor() -> str:
    """Its name, as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def music(rate_hz: int, duration_s: float, channels: int, seed: int) -> np.ndarray:
    """Decaying chords over noise, [N, C] float64."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(rate_hz * duration_s)) / rate_hz
    since = t % 0.5
    tones = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 440)) * np.exp(-4 * since)
    return 0.1 * tones[:, None] + 0.01 * rng.standard_normal((len(t), channels))


def best_time(program: Path, files: list[Path]) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [program, "measure", "--csv", *files], check=True, capture_output=True, env=environment
        )
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print a table: rate, channels, seconds of audio a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "musicsteer")
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of a clip")
    parser.add_argument("--clips", type=int, default=8, help="clips of each kind")
    options = parser.parse_args()
    if not options.program.exists():
        sys.exit(f"error: {options.program} is not built: run scripts/setup.sh")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the program inherits it
    print(f"{processor()}, one core; {options.clips} clips of {options.duration:g} s, best of {REPEATS}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nothing = folder / "nothing.wav"
        soundfile.write(nothing, np.zeros(1), 16000)
        start_s = best_time(options.program, [nothing])
        print(
            f"starting the program: {start_s:.2f} s\n\n{'rate (Hz)':>9} {'channels':>9} {'x real time':>12}"
        )
        for rate_hz in RATES_HZ:
            for channels in (1, 2):
                files = [folder / f"{index}.wav" for index in range(options.clips)]
                for index, file in enumerate(files):
                    soundfile.write(file, music(rate_hz, options.duration, channels, index), rate_hz)
                measuring_s = best_time(options.program, files) - start_s
                if measuring_s <= 0:
                    sys.exit("error: no time left after starting: the machine is busy, or give more --clips")
                factor = options.clips * options.duration / measuring_s
                print(f"{rate_hz:>9} {channels:>9} {factor:>12.0f}", flush=True)


if __name__ == "__main__":
    main()
