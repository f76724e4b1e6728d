"""Melody bundles end to end: every subcommand runs on them, and `generate --melody` follows a recording."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import soundfile
from program import Runner
from safetensors.torch import load_file

LENGTH = ("--duration", "0.1", "--top-k", "20")


@pytest.fixture(scope="module")
def melody_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("melody")
    checkpoint = checkpoints.save(checkpoints.MELODY_SHAPES[0], folder)
    target = folder / "bundle"
    command = [sys.executable, "-m", "musicsteer.export_model", checkpoint, target]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def tune(tmp_path: Path) -> Path:
    """Two notes, stereo, at a rate that is not the model's."""
    time = np.arange(44100) / 22050
    sound = np.where(time < 1, np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 587.33 * time))
    soundfile.write(tmp_path / "tune.flac", np.stack([sound, sound], 1) * 0.3, 22050)
    return tmp_path / "tune.flac"


def test_a_melody_is_heard_and_recorded(
    musicsteer: Runner, melody_bundle: Path, tune: Path, tmp_path: Path
) -> None:
    def record(out: str, *more: str | Path) -> dict[str, object]:
        done = musicsteer(
            "generate", "--model", melody_bundle, "--prompt", "calm piano", "--out", f"{out}.wav", *LENGTH,
            "--save-codes", f"{out}.codes", "-q", *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        return json.loads((tmp_path / f"{out}.json").read_text("utf-8"))

    plain, sung = record("plain"), record("sung", "--melody", tune)
    assert "melody_sha256" not in plain
    assert sung.pop("melody_sha256") == hashlib.sha256(tune.read_bytes()).hexdigest()
    own = ("file", "clipped_samples")
    assert {k: v for k, v in sung.items() if k not in own} == {k: v for k, v in plain.items() if k not in own}
    codes = [load_file(tmp_path / f"{out}.codes")["codes"] for out in ("plain", "sung")]
    assert (codes[0] != codes[1]).float().mean() > 0.2
    record("again", "--melody", tune)
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "sung.wav").read_bytes()


def test_a_melody_needs_a_model_that_hears_one(musicsteer: Runner, bundle: Path, tune: Path) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "piano", "--melody", tune, "--out", "a.wav", *LENGTH
    )
    assert done.code == 2
    assert done.err == (
        "error: --melody: tiny-mono hears no melody; export a melody checkpoint, such as "
        "facebook/musicgen-melody\n"
    )


def test_a_melody_that_cannot_be_read(musicsteer: Runner, melody_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    for name in ("noise.wav", "missing.wav"):
        done = musicsteer(
            "generate",
            "--model",
            melody_bundle,
            "--prompt",
            "piano",
            "--melody",
            name,
            "--out",
            "a.wav",
            *LENGTH,
        )
        assert done.code == 1
        assert done.err.startswith(f"error: {name}: ") and done.err.count("\n") == 1


def test_inspect_says_how_it_is_conditioned(musicsteer: Runner, melody_bundle: Path, bundle: Path) -> None:
    assert "conditioning      text and melody, in a prefix\n" in musicsteer("inspect", melody_bundle).out
    assert json.loads(musicsteer("inspect", melody_bundle, "--json").out)["conditioning"] == "prefix"
    assert json.loads(musicsteer("inspect", bundle, "--json").out)["conditioning"] == "cross"


def test_everything_runs_on_a_melody_bundle(
    musicsteer: Runner, melody_bundle: Path, tune: Path, tmp_path: Path
) -> None:
    def run(*arguments: str | Path) -> None:
        done = musicsteer(*arguments, "-q")
        assert done.code == 0, f"{arguments}: {done.err}"

    model = ("--model", melody_bundle)
    prompts = tmp_path / "prompts.json"
    sides = {"positive": ["fast drums", "fast bass"], "negative": ["slow drums", "slow bass"]}
    prompts.write_text(json.dumps(sides), "utf-8")
    neutral = tmp_path / "neutral.txt"
    neutral.write_text("piano music\nguitar melody\ncalm strings\nhappy rock\n", "utf-8")
    run("extract", *model, "--prompts", prompts, "--out", "v.safetensors", *LENGTH)
    assert all(load_file(tmp_path / "v.safetensors")[f"decoder.{i}.resid_post"].any() for i in range(3))
    sung = ("--prompt", "piano", "--steer", "v.safetensors:alpha=0.5", "--melody", tune, "--score")
    run("generate", *model, *sung, "--out", "a.wav", *LENGTH)
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["kl_nats"] > 0
    grid = ("--prompts", neutral, "--seeds", "0:2", "--steer", "v.safetensors", "--alphas", "0,0.5")
    run("sweep", *model, *grid, "--kl", "--out", "s", *LENGTH)
    assert len((tmp_path / "s" / "runs.jsonl").read_text("utf-8").splitlines()) == 16
    run("patch", *model, "--prompts", prompts, "--out", "p.json", *LENGTH)
    run("record", *model, "--prompt", "piano", "--hooks", "decoder.1.mlp_out", "--out", "r.st", *LENGTH)
    target = ("--steer", "v.safetensors", "--target", "centroid=+1%", "--pairs", "8", "--check-pairs", "8")
    run("calibrate", *model, "--prompts", neutral, *target, "--out", "c.json", *LENGTH)
    study = ("study", *model, "--steer", "v.safetensors", "--measure", "centroid", "--out", "study")
    run(*study, "--prompt", "piano", "--seeds", "0:8", "--controls", "4", "--no-audio", *LENGTH)
