"""Sweep folders as they are found: whole, torn, of another kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_sweeps import grid, record, write_sweep

from musicsteer.report.curves import curves_of
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import read_sweeps


def test_an_incomplete_last_line_is_skipped_with_a_note(tmp_path):
    folder = write_sweep(tmp_path / "sweep", grid())
    runs = folder / "runs.jsonl"
    runs.write_bytes(runs.read_bytes()[:-40])
    sweep = read_sweeps([folder])
    assert len(sweep.clips) == len(grid()) - 1
    assert "is incomplete" in sweep.remarks[0]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    folder = write_sweep(tmp_path / "sweep", grid())
    lines = (folder / "runs.jsonl").read_text().splitlines()
    lines[2] = lines[2][:30]
    (folder / "runs.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ReportError, match="line 3: not JSON"):
        read_sweeps([folder])


def test_no_clips_is_an_error(tmp_path):
    with pytest.raises(ReportError, match="no finished clips"):
        read_sweeps([write_sweep(tmp_path / "sweep", [])])


@pytest.mark.parametrize(
    "plan",
    ["[]", '{"format": "musicsteer-bundle"}', "{", '{"format": "musicsteer-sweep", "oldest_reader": 9}'],
)
def test_a_folder_of_another_format_is_refused(tmp_path, plan):
    folder = write_sweep(tmp_path / "sweep", grid())
    (folder / "plan.json").write_text(plan)
    with pytest.raises(ReportError, match=r"plan\.json"):
        read_sweeps([folder])


def test_a_folder_without_plan_or_no_folder_is_refused(tmp_path):
    with pytest.raises(ReportError, match=r"has no plan\.json"):
        read_sweeps([tmp_path])
    with pytest.raises(ReportError, match="is not a folder"):
        read_sweeps([tmp_path / "none"])


@pytest.mark.parametrize(
    "change",
    [{"steering": None}, {"seed": "0"}, {"measures": []}, {"id": "../x"}, {"steering": [{}]}, {"model": {}}],
)
def test_a_record_that_is_no_record_is_refused(tmp_path, change):
    with pytest.raises(ReportError, match=r"runs\.jsonl, line 1: expected"):
        read_sweeps([write_sweep(tmp_path / "sweep", [record() | change])])


def test_different_models_are_refused(tmp_path):
    one = write_sweep(tmp_path / "one", [record()])
    two = write_sweep(tmp_path / "two", [record(model={"name": "other", "weights_sha256": "b2" * 32})])
    with pytest.raises(ReportError, match="different models"):
        read_sweeps([one, two])


def test_a_clip_in_two_folders_counts_once_and_must_be_the_same(tmp_path):
    one, two = (write_sweep(tmp_path / name, [record()]) for name in ("one", "two"))
    sweep = read_sweeps([one, two])
    assert len(sweep.clips) == 1 and "counted once" in sweep.remarks[0]
    (two / "runs.jsonl").write_text(json.dumps(record() | {"audio_sha256": "0"}))
    with pytest.raises(ReportError, match="different audio"):
        read_sweeps([one, two])


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/secret.wav", None])
def test_no_file_outside_the_folder_is_read(tmp_path, name):
    (clip,) = read_sweeps([write_sweep(tmp_path / "sweep", [record() | {"file": name}])]).clips
    assert clip.audio_path is None


def test_undefined_measures_are_not_numbers(tmp_path):
    entry = record(values={"loudness_lufs": None})
    (clip,) = read_sweeps([write_sweep(Path(tmp_path) / "sweep", [entry])]).clips
    assert clip.measure("loudness_lufs") != clip.measure("loudness_lufs")
    assert clip.measure("kl_nats") == 0.0  # of the unsteered clip to itself


def test_measures_of_ones_own_stand_beside_ours(tmp_path):
    with_own = [
        entry | {"measures": entry["measures"] | {"swing": 0.5 + sum(s["alpha"] for s in entry["steering"])}}
        for entry in grid(kl=True)
    ]
    sweep = read_sweeps([write_sweep(tmp_path / "sweep", with_own)])
    plain = read_sweeps([write_sweep(tmp_path / "plain", grid(kl=True))]).measure_keys()
    assert sweep.measure_keys() == [*plain[:-1], "swing", plain[-1]] and plain[-1] == "kl_nats"
    curve = curves_of(sweep, sweep.measure_keys())[0]
    place = sweep.measure_keys().index("swing")
    changes = {point.alpha: point.change.value[place] for point in curve.points}
    assert changes[0.4] == pytest.approx(0.4) and changes[-0.2] == pytest.approx(-0.2)
