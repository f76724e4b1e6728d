"""scripts/demo.py and demo_table.py, without a model: what is measured, and what is made again when."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import demo
import demo_table

RATE_HZ = 16000


def write_clips(folder: Path, alpha: float, sounds: list[np.ndarray]) -> Path:
    """A folder as `musicsteer generate` leaves it, with what the table reads of the records."""
    folder.mkdir(parents=True)
    steering = [{"concept": "tempo", "alpha": alpha}] if alpha else []
    lines = []
    for index, sound in enumerate(sounds):
        soundfile.write(folder / f"{index:04}-x-s0.wav", sound, RATE_HZ, subtype="PCM_16")
        lines.append(json.dumps({"file": f"{index:04}-x-s0.wav", "steering": steering}))
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def tone(frequency_hz: float, seconds: float = 4.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


def notes(bpm: float, seconds: float = 8.0) -> np.ndarray:
    """A dying note on each beat; 15 of them at 120 BPM."""
    sound = np.zeros(int(seconds * RATE_HZ))
    beat = 60 / bpm
    note = tone(440, 0.3) * np.exp(-np.arange(int(0.3 * RATE_HZ)) / (0.06 * RATE_HZ))
    for start in (np.arange(0.25, seconds - 0.5, beat) * RATE_HZ).astype(int):
        sound[start : start + len(note)] += note
    return sound


def test_measures_what_was_synthesised(tmp_path):
    folder = write_clips(tmp_path / "clips", 1.0, [notes(120), tone(1000)])
    pulse, steady = (demo_table.measure(folder / f"000{i}-x-s0.wav") for i in range(2))
    assert pulse["tempo_bpm"] == pytest.approx(120, rel=0.05)
    assert pulse["onsets"] == pytest.approx(15 / 8)  # each note once
    # librosa's frames at the edges hear the tone begin and end, which adds a little above it
    assert steady["centroid_hz"] == pytest.approx(1000, rel=0.1)


def test_table_has_a_row_a_folder_and_means_over_clips(tmp_path):
    low = write_clips(tmp_path / "low", -1.0, [tone(500), tone(1500)])
    none = write_clips(tmp_path / "none", 0.0, [tone(1000)])
    table = demo_table.format_table({"tempo": [low, none], "brightness": [none]}).splitlines()
    rows = [line.split() for line in table if line]
    assert rows[0][:3] == ["concept", "alpha", "clips"]
    assert [row[:3] for row in rows[1:]] == [
        ["tempo", "-1", "2"],
        ["tempo", "0", "1"],
        ["brightness", "0", "1"],
    ]
    assert float(rows[1][4]) == pytest.approx(1000, rel=0.1)
    assert rows[2][3:] == rows[3][3:]


def test_medley_is_the_first_clips_in_order_with_pauses(tmp_path):
    folders = [write_clips(tmp_path / str(i), i, [tone(500 * i, 1.0), tone(50, 1.0)]) for i in (1, 2)]
    demo_table.write_medley(folders, tmp_path / "medley.wav")
    samples, rate = soundfile.read(tmp_path / "medley.wav")
    assert rate == RATE_HZ
    assert len(samples) == int(2.5 * RATE_HZ)
    np.testing.assert_allclose(samples[:RATE_HZ], tone(500, 1.0), atol=1e-3)
    np.testing.assert_allclose(samples[-RATE_HZ:], tone(1000, 1.0), atol=1e-3)


class Kitchen:
    """A step that counts how often it is made."""

    def __init__(self, folder: Path):
        self.source = folder / "source"
        self.output = folder / "output"
        self.source.write_text("1")
        self.maker = demo.Maker(folder / ".steps", 0.0)
        self.made = 0

    def run(self, settings: tuple[str, ...] = ("a",), fail: bool = False) -> int:
        def make() -> None:
            assert not self.output.exists()
            self.output.write_text("half")
            if fail:
                raise demo.DemoError("broken")
            self.made += 1

        step = demo.Step("step", "making", [self.source], [self.output], list(settings), make)
        self.maker.run(step)
        return self.made


def test_a_finished_step_is_not_repeated(tmp_path):
    kitchen = Kitchen(tmp_path)
    assert [kitchen.run(), kitchen.run()] == [1, 1]


def test_a_step_is_made_again_if_an_input_a_setting_or_the_output_changed(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.run()
    kitchen.source.write_text("22")
    assert kitchen.run() == 2
    assert kitchen.run(settings=("b",)) == 3
    kitchen.output.unlink()
    assert kitchen.run(settings=("b",)) == 4


def test_a_step_that_failed_half_way_is_made_again(tmp_path):
    kitchen = Kitchen(tmp_path)
    with pytest.raises(demo.DemoError):
        kitchen.run(fail=True)
    assert kitchen.output.read_text() == "half"
    assert kitchen.run() == 1


def test_an_output_that_the_demo_did_not_make_is_left_alone(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.output.write_text("someone's own")
    for _ in range(2):
        with pytest.raises(demo.DemoError, match="was not made by this demo"):
            kitchen.run()
    assert kitchen.output.read_text() == "someone's own"


def test_settings_of_the_model_replace_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "CHECKPOINT", tmp_path)
    assert demo.read_steering() == demo.STEERING
    # A default source layer left in place would contradict this strategy.
    chosen = {
        "prompts": "prompts/tempo.json",
        "strategy": "per-layer",
        "layers": "0-5",
        "alphas": [-0.5, 0.5],
    }
    (tmp_path / "steering.json").write_text(json.dumps({"concepts": {"tempo": chosen}}))
    assert demo.read_steering() == {"tempo": chosen, "brightness": demo.STEERING["brightness"]}


def test_missing_model_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CHECKPOINT", tmp_path / "nowhere")
    assert demo.main(["--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the demo model is missing")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
