"""Which measure a curve opens on, how many pairs agree, and which pair is played first."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_sweeps import record, steering, write_sweep

from musicsteer.report.curves import Curve, curves_of
from musicsteer.report.loading import read_sweeps
from musicsteer.report.page import pairs_to_hear
from musicsteer.report.pairs import Agreement, agreement_of, by_steadiness, moved_most

KEYS = ["tempo_bpm", "spectral_centroid_hz", "loudness_lufs"]
ALPHAS = (-1.0, 0.0, 1.0)


def sweep_folder(folder: Path, values: dict[int, dict[str, tuple[float | None, ...]]], **terms: str) -> Path:
    """values: by seed and measure, at each of ALPHAS."""
    records = []
    for seed, measures in values.items():
        for place, alpha in enumerate(ALPHAS):
            applied = [steering(alpha, **terms)] if alpha else []
            records.append(
                record(seed=seed, applied=applied, values={k: v[place] for k, v in measures.items()})
            )
    return write_sweep(folder, records)


def curve_of(folder: Path, values: dict[int, dict[str, tuple[float | None, ...]]]) -> Curve:
    (curve,) = curves_of(read_sweeps([sweep_folder(folder, values)]), KEYS)
    return curve


def seeds(pairs: list[tuple[str | None, int]]) -> list[int]:
    return [seed for _, seed in pairs]


def test_a_curve_opens_on_what_moves_most_against_its_spread(tmp_path):
    # The tempo rises by 20 BPM on average, and once falls; the centroid falls by 30 Hz in both.
    loudness = {"loudness_lufs": (-30, -20, -10)}  # not heard, as loudness is matched
    values = {
        0: {"tempo_bpm": (100, 110, 150), "spectral_centroid_hz": (1030, 1015, 1001), **loudness},
        1: {"tempo_bpm": (110, 110, 100), "spectral_centroid_hz": (1030, 1015, 999), **loudness},
    }
    assert moved_most(curve_of(tmp_path / "two", values), KEYS) == "spectral_centroid_hz"
    one = {0: {"tempo_bpm": (100, 110, 150), "spectral_centroid_hz": (1030, 1015, 1001)}}
    assert moved_most(curve_of(tmp_path / "one", one), KEYS) == "tempo_bpm"


def test_pairs_that_agree_are_counted_from_end_to_end(tmp_path):
    tempi = {0: (90, 200, 100), 1: (90, 80, 91), 2: (90, 100, 80), 3: (90, 90, 90), 4: (None, 90, 120)}
    curve = curve_of(tmp_path / "sweep", {seed: {"tempo_bpm": values} for seed, values in tempi.items()})
    assert agreement_of(curve, 0) == Agreement(rising=2, falling=1, count=4)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_steadiest_pair_comes_first_and_the_larger_rise_of_equals(tmp_path, sign):
    tempi = {
        0: (100, 140, 130),
        1: (100, 101, 110),
        2: (100, 110, 120),
        3: (120, 110, 100),
        4: (100, None, 190),
    }
    turned = {
        seed: {"tempo_bpm": tuple(None if v is None else 300 + sign * v for v in values)}
        for seed, values in tempi.items()
    }
    # Seed 4 lacks two of three pairs of strengths; seed 0 has one of three in the wrong order.
    assert seeds(by_steadiness(curve_of(tmp_path / "sweep", turned), 0)) == [2, 1, 4, 0, 3]


def test_small_pages_take_each_directions_first_pair_then_seed_by_seed(tmp_path):
    tempi = {0: (100, 90, 80), 1: (100, 100, 100), 2: (100, 110, 120), 3: (100, 120, 110)}
    tempo = {seed: {"tempo_bpm": values} for seed, values in tempi.items()}
    folder = sweep_folder(tmp_path / "sweep", tempo)
    assert seeds(pairs_to_hear(read_sweeps([folder]))) == [2, 0, 1, 3]
