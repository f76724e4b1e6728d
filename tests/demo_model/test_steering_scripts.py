"""Choosing and evaluating how the demo model is steered, on clips whose measures are made up."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "demo_model"))

from choose_steering import SCREENING, Chooser  # noqa: E402
from evaluate_steering import evaluate, markdown  # noqa: E402
from steering_runs import Aim, Bench, Setting, relative_changes, strict_rises  # noqa: E402

CHOSEN = {"strategy": "per-layer", "layers": "0-4", "unit": "difference", "rows": "both"}


class FakeBench(Bench):
    """Tempo follows alpha by `gain`, and brightness comes along by `drag`; random vectors do nothing."""

    def __init__(self, work_dir: Path, gain: float = 1.0, drag: float = 0.0):
        self.work_dir, self.bundle, self.gain, self.drag = work_dir, work_dir, gain, drag

    def clips(self, trial, steer=()):
        text = " ".join(str(word) for word in steer)
        alpha = float(text.split("alpha=")[1].split(":")[0]) if "alpha=" in text else 0.0
        alpha = 0.0 if "random" in text else alpha
        shape = (len(trial.prompts), len(trial.seeds))
        noise = np.random.default_rng(0).standard_normal((*shape, 4))
        tempo = (105 + 5 * noise[..., 0]) * np.exp(self.gain * alpha)
        return {
            "tempo_bpm": tempo,
            "tempo_default_bpm": tempo,
            "onset_rate": 3 + 0.1 * noise[..., 1],
            "centroid_hz": (1000 + 100 * noise[..., 2]) * np.exp(self.drag * alpha),
            "rms": 0.1 + 0.02 * noise[..., 3],
            "flatness": 0.01 + 0.001 * noise[..., 3],
            "nll": 2 + 0.1 * noise[..., 3],
        }


@pytest.fixture
def vectors(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "tempo.safetensors"
    save_file({"layer.0": np.ones(4, np.float32)}, path, metadata={"method": "difference"})
    monkeypatch.setattr(Setting, "extract", lambda *_: path)
    return path


def test_choosing_reaches_what_is_asked_and_goes_on_from_its_log(tmp_path, vectors):
    log = tmp_path / "candidates.jsonl"
    chosen = Chooser(FakeBench(tmp_path), "tempo", log).choose(num_layers=5)
    low, high = chosen["alphas"][0], chosen["alphas"][-1]
    assert np.exp(low) - 1 <= -0.25 and np.exp(high) - 1 >= 0.25
    assert chosen["alphas"] == sorted(chosen["alphas"]) and len(chosen["alphas"]) == 5
    assert chosen["chosen_on"]["rises"] == 1.0 and chosen["chosen_on"]["measure"] == "tempo_bpm"
    lines = len(log.read_text().splitlines())
    assert Chooser(FakeBench(tmp_path), "tempo", log).choose(num_layers=5) == chosen
    assert len(log.read_text().splitlines()) == lines


def test_an_end_that_drags_brightness_along_counts_half(tmp_path, vectors):
    chooser = Chooser(FakeBench(tmp_path, drag=0.5), "tempo", tmp_path / "log")
    setting = Setting("per-layer", None, "0-4", "difference", "both")
    verdict = chooser.judge(SCREENING, setting, [0.0, 0.3], chooser.bench.clips(SCREENING))
    aim = Aim("tempo_bpm", -0.25, 0.25, "centroid_hz", 0.08)
    assert verdict.reached(-1, aim) == pytest.approx((np.exp(0.3) - 1) / 0.25 / 2)


def test_evaluation_says_what_moved_and_what_came_along(tmp_path, vectors):
    alphas = [-0.4, -0.2, 0.0, 0.2, 0.4]
    result = evaluate(FakeBench(tmp_path, drag=0.1), "tempo", CHOSEN | {"alphas": alphas}, vectors)
    assert result["change_low"] == pytest.approx(np.exp(-0.4) - 1)
    assert result["change_high"] == pytest.approx(np.exp(0.4) - 1)
    assert result["strict_rises"] == 1.0 and result["strict_rises_shown"] == 12
    centroid = result["by_alpha"][-1]["figures"]["centroid_hz"]
    assert centroid["change"] == pytest.approx(np.exp(0.04) - 1)
    low, high = centroid["change_interval"]
    assert low <= centroid["change"] <= high
    assert len(result["random_slopes"]) == 8 and max(np.abs(result["random_slopes"])) < 1e-9
    assert all(low > 0 for low, _ in result["differences"])
    assert "100% of pairs rise strictly, 12 of the first 12" in markdown("tempo", result)
    json.dumps(result)


def test_a_setting_survives_steering_json_which_leaves_out_what_is_usual():
    usual = Setting("per-layer", None, "0-4", "difference", "both")
    assert usual.as_dict() == CHOSEN and Setting.of(CHOSEN | {"alphas": [0.0]}) == usual
    early = Setting("single", 1, "1", "difference", "conditional", "window,0,0.4", 1.0, "window:0-0.4")
    assert Setting.of(early.as_dict()) == early
    assert early.as_dict()["positions"] == "window:0-0.4" and early.as_dict()["duration_s"] == 1.0
    option = early.flags(Path("v.safetensors"), 0.3)[1]
    assert option.split(":")[:2] == ["v.safetensors", "alpha=0.3"]
    assert "schedule=window,0,0.4" in option and "source-layer=1" in option


def test_strict_rises_and_changes():
    rising, falling = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    values = np.stack([rising, falling], axis=1)[:, None, :]
    assert strict_rises(values) == 0.5
    assert relative_changes(values[2], values[0]).tolist() == [3.0, 1.0]
