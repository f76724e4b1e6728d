"""musicsteer.read_sweep: a row a clip, with unsteered clips labelled."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import musicsteer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "report"))

from example_sweeps import record, steering, write_sweep  # noqa: E402


def test_unsteered_clips_are_labelled(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    records = [
        record(seed=0, values={"tempo_bpm": 100.0}),
        record(seed=0, applied=[steering(0.5, "tempo")], values={"tempo_bpm": 120.0}),
        record(seed=1, applied=[steering(-0.5, "tempo")], values={"tempo_bpm": None}),
        record(seed=0, applied=[steering(0.5, "brightness")]),
    ]
    write_sweep(tmp_path / "sweep", records)
    table = musicsteer.read_sweep(tmp_path / "sweep").set_index("id").loc[[r["id"] for r in records]]
    assert list(table.condition == "unsteered") == [True, False, False, False]
    assert table.condition.nunique() == 3
    assert list(table.alpha) == [0.0, 0.5, -0.5, 0.5]
    assert list(table.concept.fillna("")) == ["", "tempo", "tempo", "brightness"]
    assert list(table.seed) == [0, 0, 1, 0]
    assert table.tempo_bpm.iloc[0] == 100.0 and table.tempo_bpm.isna().sum() == 1
    means = table.groupby("condition").spectral_centroid_hz.mean()
    assert "unsteered" in means.index


def test_without_pandas_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        musicsteer.read_sweep(tmp_path)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load'"):
        _ = musicsteer.load
