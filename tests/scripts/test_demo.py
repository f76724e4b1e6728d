"""scripts/demo.py and what it uses: what is measured, what is made again when, and a small demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "report")]

import demo  # noqa: E402
import demo_steps  # noqa: E402
import medley  # noqa: E402
from example_sweeps import record, steering, write_sweep  # noqa: E402

from musicsteer.report.loading import read_sweeps  # noqa: E402

RATE_HZ = 16000


def write_clips(folder: Path, sounds: dict[tuple[str, float], list[np.ndarray]]) -> Path:
    """A sweep's folder; sounds: by concept and alpha, of seeds 0, 1, ... Alpha 0 has no concept."""
    records = []
    for (concept, alpha), clips in sounds.items():
        applied = [steering(alpha, concept)] if alpha else []
        records += [record(seed=seed, applied=applied) for seed in range(len(clips))]
    write_sweep(folder, records)
    for entry, sound in zip(records, [one for clips in sounds.values() for one in clips], strict=True):
        soundfile.write(folder / entry["file"], sound, RATE_HZ, subtype="PCM_16")
    return folder


def tone(frequency_hz: float, seconds: float = 4.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


def measured(alpha: float, seed: int, bpm: float, lufs: float, peak: float = -15.0) -> dict:
    values = {"tempo_bpm": bpm, "loudness_lufs": lufs, "true_peak_dbtp": peak}
    return record(seed=seed, applied=[steering(alpha)] if alpha else [], values=values)


def write_takes(folder: Path) -> Path:
    """Seed 0's tempo goes up and down, seed 1's rises; seed 1's loudness and true peak differ."""
    records = [
        *(measured(alpha, 0, bpm, -20.0) for alpha, bpm in ((-1.0, 100), (0.0, 180), (1.0, 110))),
        measured(-1.0, 1, 90.0, -30.0),
        measured(0.0, 1, 100.0, -20.0, peak=-3.0),
        measured(1.0, 1, 110.0, -20.0),
    ]
    write_sweep(folder, records)
    for entry, hz in zip(records, (50, 50, 50, 500, 750, 1000), strict=True):
        soundfile.write(folder / entry["file"], 0.1 * tone(hz, 1.0), RATE_HZ, subtype="FLOAT")
    return folder


def test_medley_is_of_the_pair_that_follows_the_strength(tmp_path):
    one = medley.medleys_of(read_sweeps([write_takes(tmp_path / "sweep")]))["tempo"]
    assert one.pair == ("piano music", 1) and [clip.alpha for clip in one.clips] == [-1.0, 0.0, 1.0]
    text = demo.medley_text(one)
    assert "from slow to fast, at strength -1, 0, +1" in text
    assert "another take of 'piano music' with seed 1" in text and "by its tempo" in text


def test_medley_is_matched_in_loudness_faded_and_has_pauses(tmp_path):
    one = medley.medleys_of(read_sweeps([write_takes(tmp_path / "sweep")]))["tempo"]
    medley.write_wav(one.clips, tmp_path / "medley.wav")
    samples, rate = soundfile.read(tmp_path / "medley.wav")
    assert rate == RATE_HZ and len(samples) == 4 * RATE_HZ
    # The clip at 0 has room for 2 dB, from -20 LUFS to -18: the others follow it.
    middle = slice(RATE_HZ // 4, 3 * RATE_HZ // 4)
    for start, hz, decibels in ((0.0, 500, 12.0), (1.5, 750, 2.0), (3.0, 1000, 2.0)):
        part = samples[int(start * RATE_HZ) :][:RATE_HZ]
        np.testing.assert_allclose(
            part[middle], 10 ** (decibels / 20) * 0.1 * tone(hz, 1.0)[middle], atol=1e-3
        )
        assert part[0] == 0 and part[-1] == 0 and abs(part[: RATE_HZ // 200]).max() < 0.5 * part.max()
    assert not samples[RATE_HZ : int(1.5 * RATE_HZ)].any()


def test_without_steering_there_is_no_medley(tmp_path):
    folder = write_clips(tmp_path / "sweep", {("", 0.0): [tone(500)]})
    with pytest.raises(medley.MedleyError, match="no clip is steered"):
        medley.medleys_of(read_sweeps([folder]))


class Kitchen:
    """A step that counts how often it is made."""

    def __init__(self, folder: Path):
        self.source = folder / "source"
        self.output = folder / "output"
        self.source.write_text("1")
        self.maker = demo_steps.Maker(folder / ".steps", 0.0)
        self.made = 0
        self.found: str | None = None  # what lay there when it was made the last time

    def run(self, settings: tuple[str, ...] = ("a",), fail: bool = False, resumable: bool = False) -> int:
        def make() -> None:
            self.found = self.output.read_text() if self.output.exists() else None
            self.output.write_text("half")
            if fail:
                raise demo_steps.StepError("broken")
            self.made += 1

        step = demo_steps.Step(
            "step", "making", [self.source], [self.output], list(settings), make, resumable
        )
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
    assert kitchen.run(settings=("b",)) == 3 and kitchen.found is None
    kitchen.output.unlink()
    assert kitchen.run(settings=("b",)) == 4


def test_a_step_that_failed_half_way_is_made_again(tmp_path):
    kitchen = Kitchen(tmp_path)
    with pytest.raises(demo_steps.StepError):
        kitchen.run(fail=True)
    assert kitchen.output.read_text() == "half"
    assert kitchen.run() == 1 and kitchen.found is None


def test_a_resumable_step_goes_on_with_what_is_there_unless_it_is_of_something_else(tmp_path):
    kitchen = Kitchen(tmp_path)
    with pytest.raises(demo_steps.StepError):
        kitchen.run(fail=True, resumable=True)
    assert kitchen.run(resumable=True) == 1 and kitchen.found == "half"
    with pytest.raises(demo_steps.StepError):
        kitchen.run(settings=("b",), fail=True, resumable=True)
    assert kitchen.run(settings=("c",), resumable=True) == 2 and kitchen.found is None


def test_an_output_that_the_demo_did_not_make_is_left_alone(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.output.write_text("someone's own")
    for _ in range(2):
        with pytest.raises(demo_steps.StepError, match="was not made by this demo"):
            kitchen.run()
    assert kitchen.output.read_text() == "someone's own"


def test_settings_become_one_condition_of_a_sweep():
    settings = {"strategy": "single", "source_layer": 3, "layers": "0,2-4", "rows": "both", "alphas": [-1, 2]}
    settings["schedule"] = "window,0,0.4"
    assert demo.vector_axes(Path("v"), settings) == {
        "file": "v",
        "alphas": [-1.0, 0.0, 2.0],
        "strategies": ["single"],
        "source_layers": [3],
        "layers": ["0+2-4"],
        "rows": ["both"],
        "schedule": "window,0,0.4",
    }


def test_directions_come_from_25_prompts_a_side_unless_the_model_says_otherwise(monkeypatch):
    monkeypatch.setattr(demo, "command_step", lambda *parts: parts[-1])
    for settings, limit in (({}, "25"), ({"limit": 40}, "40")):
        command = demo.extract_step("tempo", {"prompts": "p.json"} | settings, Path("bundle"), Path("v"))
        assert command[command.index("--limit") + 1] == limit


def test_the_grid_fills_its_batches():
    assert len(demo.GRID["prompts"]) * len(demo.GRID["seeds"]) % demo.GRID["batch_size"] == 0


def test_missing_model_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CHECKPOINT", tmp_path / "nowhere")
    assert demo.main(["--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the demo model is missing")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_small_demo_makes_all_it_names_goes_on_and_repeats_nothing(tmp_path, monkeypatch, capsys):
    if not demo.PROGRAM.exists():
        pytest.skip(f"{demo.PROGRAM} is not built")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small = {"prompts": ["piano music"], "seeds": [0, 1], "duration_s": 1.0, "batch_size": 2, "threads": 1}
    monkeypatch.setattr(demo, "GRID", small)
    chosen = {
        concept: settings | {"limit": 1, "duration_s": 0.4, "alphas": [-1.0, 1.0]}
        for concept, settings in demo.read_steering().items()
    }
    monkeypatch.setattr(demo, "read_steering", lambda: chosen)
    out = tmp_path / "demo"
    assert demo.main(["--out", str(out)]) == 0
    first = capsys.readouterr().out
    listen = first[first.index("Listen:") :]
    assert f"{out / 'report' / 'index.html'}: open it" in listen
    for name in ("report/index.html", "tempo.wav", "brightness.wav", "sweep/clips"):
        assert (out / name).exists() and str(out / name) in listen
    runs = (out / "sweep" / "runs.jsonl").read_bytes()
    assert runs.count(b"\n") == 2 * 5  # unsteered, and two strengths of each concept
    assert len(list((out / "report" / "audio").iterdir())) == 10

    assert demo.main(["--out", str(out)]) == 0
    again = capsys.readouterr().out
    assert not any(line.startswith("[") for line in again.splitlines())  # no step
    assert again.strip() in first

    # As if it had been stopped while making clips: existing clips stay, and the others get the same bytes.
    stamp = out / ".steps" / "sweep.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"finished": False}))
    (out / "sweep" / "runs.jsonl").write_bytes(b"".join(runs.splitlines(keepends=True)[:4]))
    kept = out / "sweep" / json.loads(runs.splitlines()[0])["file"]
    before = kept.stat().st_mtime_ns
    assert demo.main(["--out", str(out)]) == 0
    assert kept.stat().st_mtime_ns == before
    assert sorted((out / "sweep" / "runs.jsonl").read_bytes().splitlines()) == sorted(runs.splitlines())


def test_times_are_between_the_starts_of_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("STEP_TIMES", str(tmp_path / "times"))
    (tmp_path / "times").write_text("1000\tinstalling\n1100\tcompiling\n")
    demo_steps.note_time("listening")
    starts = (tmp_path / "times").read_text()
    assert starts.splitlines()[-1].endswith("\tlistening")
    table = demo_steps.times_table("1000\tinstalling\n1100\tcompiling\n", 1161.5).splitlines()
    assert [line.split("  ")[-1] for line in table] == ["installing", "compiling", "all"]
    assert [line.split()[0:3:2] for line in table] == [["1", "40"], ["1", "01"], ["2", "41"]]
