"""What `musicsteer measure` says is what librosa says: spectrum, level, onsets and tempo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

Measures: TypeAlias = dict[str, dict[str, float | None]]
Note: TypeAlias = Callable[[str, dict[str, float], str], None]

# Shares of librosa's value. Both sides compute the transform in float64 and keep it in float32, whose
# rounding is what is left; the roll-off moves by a whole bin in the few frames where that decides.
SPECTRAL_BOUNDS = {
    "spectral_centroid_hz": 1e-6,
    "spectral_rolloff_hz": 1e-3,
    "spectral_bandwidth_hz": 1e-6,
    "spectral_flatness": 1e-4,
    "rms": 1e-6,
}
EXACT = ("duration_s", "sample_rate_hz")


def differences(found: Measures, expected: Measures, measure: str) -> dict[str, float]:
    """Of each clip, as a share of librosa's value where that is not 0. Our null stands for 0."""
    result = {}
    for name, reference in expected.items():
        value, target = found[name][measure] or 0.0, reference[measure]
        result[name] = abs(value - target) / (abs(target) or 1.0)
    return result


def test_the_clips_are_many_and_various(expected: Measures):
    assert len(expected) >= 60
    assert all(5 <= clip["duration_s"] <= 30 for clip in expected.values())
    assert {clip["sample_rate_hz"] for clip in expected.values()} == {
        16000,
        22050,
        24000,
        32000,
        44100,
        48000,
    }
    assert len({round(clip["tempo_bpm"]) for clip in expected.values()}) > 20
    assert max(c["spectral_centroid_hz"] for c in expected.values()) > 5000
    assert min(c["spectral_centroid_hz"] for c in expected.values()) < 500


@pytest.mark.parametrize("measure", SPECTRAL_BOUNDS)
def test_spectrum_and_level(found: Measures, expected: Measures, measure: str, note: Note):
    found_differences = differences(found, expected, measure)
    note(measure, found_differences, "share")
    assert max(found_differences.values()) <= SPECTRAL_BOUNDS[measure]


def test_onset_rate(found: Measures, expected: Measures, note: Note):
    """If the envelope almost touches the threshold, rounding may decide: one onset, in a few clips."""
    found_differences = differences(found, expected, "onset_rate_hz")
    note("onset_rate_hz", found_differences, "share")
    for name, reference in expected.items():
        counts = [side["onset_rate_hz"] * reference["duration_s"] for side in (found[name], reference)]
        assert abs(counts[0] - counts[1]) < 1.01, name
    assert sum(d > 1e-9 for d in found_differences.values()) <= 0.05 * len(expected)


def test_tempo(found: Measures, expected: Measures, note: Note):
    """If two lags are almost equally good, rounding may decide."""
    found_differences = differences(found, expected, "tempo_bpm")
    note("tempo_bpm", found_differences, "share")
    assert sum(d > 1e-9 for d in found_differences.values()) <= 0.05 * len(expected)


def test_tempo_with_another_prior(
    prior_found: Measures, prior_expected: Measures, found: Measures, note: Note
):
    found_differences = differences(prior_found, prior_expected, "tempo_bpm")
    note("tempo_bpm, prior 90:0.4", found_differences, "share")
    assert sum(d > 1e-9 for d in found_differences.values()) <= 0.05 * len(prior_expected)
    moved = [name for name in found if prior_found[name]["tempo_bpm"] != found[name]["tempo_bpm"]]
    assert len(moved) >= 5


@pytest.mark.parametrize("measure", EXACT)
def test_duration_and_rate(found: Measures, expected: Measures, measure: str):
    assert max(differences(found, expected, measure).values()) == 0


@pytest.mark.parametrize("measure", [*SPECTRAL_BOUNDS, "onset_rate_hz", "tempo_bpm", *EXACT])
def test_clips_that_are_hardly_there(odd_found: Measures, odd_expected: Measures, measure: str):
    """Shorter than a frame, or silent; librosa's tempo of a flat envelope is 0 here, ours null."""
    assert len(odd_expected) == 9
    assert max(differences(odd_found, odd_expected, measure).values()) <= SPECTRAL_BOUNDS.get(measure, 1e-9)


def test_silence_is_not_given_a_tempo(odd_found: Measures):
    assert odd_found["silence"]["tempo_bpm"] is None
    assert odd_found["silence"]["silence_share"] == 1.0
