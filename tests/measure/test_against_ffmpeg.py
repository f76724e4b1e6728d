"""Loudness and true peak are ffmpeg's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import ffmpeg_loudness
import pytest

pytestmark = pytest.mark.skipif(
    not ffmpeg_loudness.AVAILABLE,
    reason="ffmpeg is not installed (scripts/setup.sh installs it): loudness was compared with nothing",
)

Measures: TypeAlias = dict[str, dict[str, float | None]]
Reference: TypeAlias = dict[str, tuple[float, float]]
Note: TypeAlias = Callable[[str, dict[str, float], str], None]

# ffmpeg takes three channels for left, right and LFE, which does not count; libebur128 for left, right and
# centre.
OTHER_LAYOUT = "three-channels"
LUFS_BOUND = 0.1
# Where a sound reaches up to half the sample rate, as clicks and drums do, a true peak depends on the filter
# that interpolates: libebur128's has 49 taps and 4 times the rate, ffmpeg's more of both, and reads higher.
# The unit tests hold ours to waves whose peak is known.
USUAL_DBTP_BOUND = 0.1
USUAL_SHARE = 0.85
DBTP_BOUND = 1.2


@pytest.fixture(scope="module")
def by_ffmpeg(music: list[Path]) -> Reference:
    return {path.stem: ffmpeg_loudness.measure(path) for path in music if path.stem != OTHER_LAYOUT}


def test_loudness(found: Measures, by_ffmpeg: Reference, note: Note):
    lufs = {name: (found[name]["loudness_lufs"], reference) for name, (reference, _) in by_ffmpeg.items()}
    assert {name for name, (ours, _) in lufs.items() if ours is None} == {"nearly-silent"}
    assert lufs.pop("nearly-silent")[1] == -70.0
    found_differences = {name: abs(ours - reference) for name, (ours, reference) in lufs.items()}
    note("loudness_lufs", found_differences, "LU")
    assert max(found_differences.values()) <= LUFS_BOUND


def test_true_peak(found: Measures, by_ffmpeg: Reference, note: Note):
    """ffmpeg's has three decimals of full scale, which are too few for what is hardly to be heard."""
    found_differences = {
        name: abs(found[name]["true_peak_dbtp"] - reference)
        for name, (_, reference) in by_ffmpeg.items()
        if reference > -30
    }
    assert len(found_differences) == len(by_ffmpeg) - 1
    within = sum(difference <= USUAL_DBTP_BOUND for difference in found_differences.values())
    note(f"true_peak_dbtp ({within} fine)", found_differences, "dB")
    assert within >= USUAL_SHARE * len(found_differences)
    assert max(found_differences.values()) <= DBTP_BOUND
