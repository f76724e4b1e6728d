"""The true peak is that of the wave between the samples, as far as 4 times as many samples show it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import firwin, resample_poly

FACTOR, HALF_LENGTH = 8, 16
# At 4 times the rate, a sine at half the rate has 8 samples a period, the nearest up to a 16th of a period
# beside its peak.
MOST_BELOW_DB = -20 * math.log10(math.cos(math.pi / 8))
MOST_ABOVE_DB = 0.05


def interpolated_peak_db(path: Path) -> float:
    """Of 8 times as many samples, from an interpolation that is close to ideal."""
    samples, _ = soundfile.read(path)
    taps = firwin(2 * HALF_LENGTH * FACTOR + 1, 1 / FACTOR, window=("kaiser", 7))
    return 20 * math.log10(np.abs(resample_poly(samples, FACTOR, 1, axis=0, window=taps)).max())


def test_true_peak(
    music: list[Path],
    found: dict[str, dict[str, float | None]],
    note: Callable[[str, dict[str, float], str], None],
):
    below = {path.stem: interpolated_peak_db(path) - found[path.stem]["true_peak_dbtp"] for path in music}
    note("true_peak_dbtp, ideal", {name: abs(difference) for name, difference in below.items()}, "dB")
    assert min(below.values()) >= -MOST_ABOVE_DB
    assert max(below.values()) <= MOST_BELOW_DB
