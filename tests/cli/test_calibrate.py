"""`musicsteer calibrate` end to end, on a model of random weights: nothing musical is expected of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import PROGRAM, Runner, environment

SHORT = ["--duration", "0.1", "--threads", "1"]
FEW = ["--pairs", "4", "--check-pairs", "4"]
PROMPTS = ["piano", "organ", "drums", "bells"]


def calibrate(bundle: Path, vectors: Path, *more: str | Path) -> list[str | Path]:
    prompts = [argument for prompt in PROMPTS for argument in ("--prompt", prompt)]
    pairs = [] if "--pairs" in more or "--max-pairs" in more else FEW
    return ["calibrate", "--model", bundle, "--steer", vectors, *prompts, *SHORT, *pairs, *more]


# A change so small that any strength near 0 meets it, whatever the direction does.
EASY = ["--target", "centroid=+1%", "--tolerance", "30"]


@pytest.fixture
def preset(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> dict:
    steer = f"{vectors}:rows=conditional:unit=residual"
    done = musicsteer(*calibrate(bundle, steer, *EASY, "--out", "p.json"))
    assert done.code == 0, done.err
    return json.loads((tmp_path / "p.json").read_text())


def test_the_preset_says_what_was_found_and_on_what(
    musicsteer: Runner, bundle: Path, vectors: Path, preset: dict, tmp_path: Path
) -> None:
    entry = preset["steering"][0]
    assert entry["rows"] == "conditional" and entry["unit"] == "residual" and entry["layers"] == [0, 1, 2]
    low, high = entry["alpha_range"]
    assert low < 0 < high and low <= entry["alpha"] <= high
    evidence = preset["evidence"]
    assert evidence["command"] == "calibrate"
    assert evidence["search"] == {"pairs": 4, "seeds": [0, 3], "prompts": ["piano", "organ", "bells"]}
    assert evidence["check"] == {"pairs": 4, "seeds": [4, 7], "prompts": ["drums"]}
    target = evidence["targets"][0]
    assert target["measure"] == "spectral_centroid_hz" and target["met"] is True
    change = target["value"]["value"] / target["unsteered"] - 1
    assert change == pytest.approx(target["change"]["value"])
    assert target["change"]["low"] <= change <= target["change"]["high"]
    assert 0 <= evidence["kl_nats"]["value"] <= evidence["max_kl_nats"]
    assert evidence["settings"]["duration_s"] == 0.1

    # The figures are those of the clips that generate makes of the preset.
    clips = ["generate", "--model", bundle, "--prompt", "drums", "--seeds", "4:8", "--duration", "0.1"]
    clips += ["--threads", "1", "--batch-size", str(evidence["settings"]["batch_size"])]
    assert musicsteer(*clips, "--steer", "p.json", "--out", "clips").code == 0
    wavs = sorted((tmp_path / "clips").glob("*.wav"))
    measured = json.loads(musicsteer("measure", *wavs, "--json").out)
    centroid = sum(clip["spectral_centroid_hz"] for clip in measured) / 4
    assert centroid == pytest.approx(target["value"]["value"], rel=1e-9)


def test_json_and_text_reports(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    text = musicsteer(*calibrate(bundle, vectors, *EASY))
    assert text.code == 0, text.err
    assert re.search(r"^centroid=\+1%  .* met within 30 points$", text.out, re.MULTILINE)
    assert re.search(r"^on  4 held-out pairs of clips, seeds 4 to 7, 1 prompt$", text.out, re.MULTILINE)
    assert "measuring: alpha" in text.err and list(tmp_path.iterdir()) == []
    report = json.loads(musicsteer(*calibrate(bundle, vectors, *EASY, "--json", "--log-level", "off")).out)
    assert report["met"] is True and report["steering_file"] is None
    stages = [step["stage"] for step in report["steps"]]
    assert stages[0] == "unsteered" and stages[-1] == "check" and stages.count("ladder") == 6


def test_pairs_that_are_left_out_grow_with_the_noise(musicsteer: Runner, bundle: Path, vectors: Path) -> None:
    # No number of clips makes chance small beside this tolerance.
    target = ["--target", "centroid=+0.1%", "--tolerance", "0.1", "--json"]
    report = json.loads(musicsteer(*calibrate(bundle, vectors, *target, "--max-pairs", "64")).out)
    unsteered = [step["pairs"] for step in report["steps"] if step["stage"] == "unsteered"]
    assert unsteered == [48, 64]
    assert report["evidence"]["search"]["seeds"] == [0, 63]
    if report["reachable"]:
        assert report["evidence"]["check"] == {"pairs": 64, "seeds": [64, 127], "prompts": ["drums"]}
    few = ["--pairs", "8", "--check-pairs", "5"]
    fixed = json.loads(musicsteer(*calibrate(bundle, vectors, *target, *few)).out)
    assert {step["pairs"] for step in fixed["steps"]} == {5, 8}


def test_two_vectors_with_a_target_each(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    second = ["--steer", f"{vectors}:layers=1", "--target", "rms=-1%", "--out", "p.json"]
    done = musicsteer(*calibrate(bundle, f"{vectors}:layers=0", *EASY, *second))
    assert done.code == 0, done.err
    preset = json.loads((tmp_path / "p.json").read_text())
    assert [entry["layers"] for entry in preset["steering"]] == [[0], [1]]
    assert [target["measure"] for target in preset["evidence"]["targets"]] == ["spectral_centroid_hz", "rms"]


def test_out_of_reach(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    arguments = calibrate(bundle, vectors, "--target", "rms=+900%", "--max-kl", "0.01", "--out", "p.json")
    done = musicsteer(*arguments)
    assert done.code == 1 and list(tmp_path.iterdir()) == []
    assert len(done.errors) == 1
    assert re.search(r"not reachable within 0\.01 nats a code: at the nearest, rms=\+900% came to", done.err)
    assert "not met" in done.out
    report = json.loads(musicsteer(*arguments, "--json").out)
    assert report["reachable"] is False and report["met"] is False and report["steering_file"] is None


def test_a_killed_calibration_is_resumed(
    musicsteer: Runner, bundle: Path, vectors: Path, cache: Path, tmp_path: Path
) -> None:
    arguments = calibrate(bundle, vectors, *EASY, "--pairs", "32", "--check-pairs", "32", "--batch-size", "4")
    whole = musicsteer(*arguments, "--out", "whole.json")
    assert whole.code == 0, whole.err
    log = tmp_path / ".p.json.progress"
    with subprocess.Popen(
        [PROGRAM, *map(str, arguments), "--out", "p.json"],
        cwd=tmp_path, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and len(log.read_bytes().splitlines()) > 40):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = len(log.read_text().splitlines()) - 1
    assert kept >= 40 and not (tmp_path / "p.json").exists()

    other = musicsteer(*arguments, "--seed", "1", "--out", "p.json")
    assert other.code == 1 and "a calibration with other settings" in other.errors[0]
    done = musicsteer(*arguments, "--out", "p.json")
    assert done.code == 0, done.err
    assert f"resuming: {kept} clips are done" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "whole.json"]
    assert (tmp_path / "p.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert re.search(r"measuring: .* about .* left$", whole.err, re.MULTILINE)


def test_an_interval_that_could_be_anything_is_not_met(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """Two pairs say next to nothing: t is 12.7."""
    target = ["--target", "rms=+1%", "--tolerance", "3", "--pairs", "2", "--check-pairs", "2"]
    done = musicsteer(*calibrate(bundle, vectors, *target, "--out", "p.json"))
    again = musicsteer(*calibrate(bundle, vectors, *target, "--json"))
    assert again.out, again.err
    report = json.loads(again.out)
    outcome = report["evidence"]["targets"][0]
    change = outcome["change"]
    assert abs(change["value"] - 0.01) < 0.03 and change["high"] - change["low"] > 0.1
    assert report["unsure"] is True and report["met"] is False and outcome["met"] is False
    assert done.code == 1 and not (tmp_path / "p.json").exists()
    assert "too wide to tell" in done.errors[0]
    assert "too uncertain to be met" in done.out


def test_a_path_that_is_no_utf8_is_refused_before_the_search(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"t\xe9mpo.safetensors")
    with open(odd, "wb") as file:
        file.write(vectors.read_bytes())
    done = musicsteer(*calibrate(bundle, os.fsdecode(odd), *EASY, "--out", "p.json"), errors="replace")
    assert done.code == 2 and "not UTF-8" in done.errors[0]
    assert "measuring: " not in done.err and not (tmp_path / ".p.json.progress").exists()


BAD = {
    "no target": ([], 2, "--target"),
    "unknown measure": (["--target", "tmpo=+20%"], 2, "did you mean 'tempo'"),
    "no sign": (["--target", "tempo=20%"], 2, "needs its sign"),
    "too many targets": (
        ["--target", "tempo=+20%", "--target", "rms=+5%"],
        2,
        "give one --target for each --steer",
    ),
    "cap 0": (["--target", "tempo=+20%", "--max-kl", "0"], 2, "cap on KL"),
    "one pair at most": (["--target", "tempo=+20%", "--pairs", "1"], 2, "at least 2 pairs"),
    "tolerance 0": (["--target", "tempo=+20%", "--tolerance", "0"], 2, "tolerance"),
    "last seed": (["--target", "tempo=+20%", "--seed", "18446744073709551615"], 2, "no seeds follow it"),
    "tempo prior": (["--target", "tempo=+20%", "--tempo-prior", "106"], 2, "BPM:OCTAVES"),
    "alpha": (["--target", "tempo=+20%", "--alpha", "1"], 2, "--alpha"),
    "limit": (["--target", "tempo=+20%", "--limit", "4"], 2, "--prompts"),
    "folder": (["--target", "tempo=+20%", "--out", "file/p.json"], 1, "file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, case: str) -> None:
    more, code, pattern = BAD[case]
    (tmp_path / "file").write_text("")
    done = musicsteer(*calibrate(bundle, vectors, *more))
    assert done.code == code, done.err
    assert len(done.err.splitlines()) == 1 and done.out == ""
    assert re.search(pattern, done.errors[0]), done.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_alpha_in_the_vector_and_no_prompts(musicsteer: Runner, bundle: Path, vectors: Path) -> None:
    done = musicsteer(*calibrate(bundle, f"{vectors}:alpha=1", "--target", "tempo=+20%"))
    assert done.code == 2 and "calibrate finds alpha" in done.errors[0]
    done = musicsteer("calibrate", "--model", bundle, "--steer", vectors, "--target", "tempo=+20%")
    assert done.code == 2 and "no prompts" in done.errors[0]
