"""Integrated loudness and true peak by ffmpeg's filter ebur128."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

AVAILABLE = shutil.which("ffmpeg") is not None


def measure(path: Path) -> tuple[float, float]:
    """LUFS (-70 if nothing is louder) and dBTP, read after the last 100 ms that are whole."""
    filters = "ebur128=metadata=1:peak=true,ametadata=mode=print:file=-"
    command = [
        "ffmpeg",
        "-nostdin",
        "-nostats",
        "-threads",
        "1",
        "-i",
        path,
        "-af",
        filters,
        "-f",
        "null",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lufs = float(re.findall(r"lavfi\.r128\.I=(\S+)", done.stdout)[-1])
    peaks = [float(peak) for peak in re.findall(r"lavfi\.r128\.true_peak=(\S+)", done.stdout)]
    highest = max(peaks)  # linear, with three decimals
    return lufs, 20 * math.log10(highest) if highest > 0 else -math.inf
