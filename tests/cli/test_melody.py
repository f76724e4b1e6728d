"""Melody bundles end to end: every subcommand runs on them, and `generate --melody` follows a recording."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import soundfile
import torch
from program import ROOT, Runner
from safetensors import safe_open
from safetensors.torch import load_file
from sweeps import records

from musicsteer.report.loading import read_sweeps
from musicsteer.report.page import page_data

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


@pytest.fixture
def other_tune(tmp_path: Path) -> Path:
    """Another note."""
    time = np.arange(32000) / 32000
    soundfile.write(tmp_path / "other.wav", 0.3 * np.sin(2 * np.pi * 349.23 * time), 32000)
    return tmp_path / "other.wav"


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


def test_a_long_clip_hears_all_of_a_long_melody(
    musicsteer: Runner, melody_bundle: Path, tmp_path: Path
) -> None:
    """A model of windows of 1 s that hears 1 s of a melody: the second window hears what comes next."""
    short = tmp_path / "short"
    shutil.copytree(melody_bundle, short)
    manifest = json.loads((short / "manifest.json").read_text())
    manifest["window_s"] = manifest["conditioning"]["chroma"]["longest_s"] = 1
    (short / "manifest.json").write_text(json.dumps(manifest))
    times = np.arange(96000) / 32000
    song = 0.3 * np.sin(2 * np.pi * np.where(times < 1, 262, 370) * times)
    soundfile.write(tmp_path / "song.wav", song, 32000)
    soundfile.write(tmp_path / "beginning.wav", song[:32000], 32000)

    def codes(melody: str, duration: str) -> torch.Tensor:
        call = ["--model", short, "--prompt", "calm piano", "--melody", melody, "--duration", duration]
        done = musicsteer("generate", *call, "--out", "a.wav", "--save-codes", "a.codes", "--force", "-q")
        assert done.code == 0, done.err
        return load_file(tmp_path / "a.codes")["codes"]

    whole, repeated = codes("song.wav", "2"), codes("beginning.wav", "2")
    window = codes("song.wav", "1").shape[2]
    assert torch.equal(codes("song.wav", "1"), codes("beginning.wav", "1"))
    assert (whole[:, :, window:] != repeated[:, :, window:]).float().mean() > 0.2


@pytest.mark.parametrize("command", ["generate", "extract", "record", "patch", "sweep", "study", "calibrate"])
def test_a_melody_needs_a_model_that_hears_one(
    musicsteer: Runner, bundle: Path, vectors: Path, tune: Path, command: str
) -> None:
    own = {
        "generate": ("--prompt", "piano"),
        "extract": ("--prompts", ROOT / "prompts" / "tempo.json", "--limit", "2"),
        "record": ("--prompt", "piano", "--hooks", "decoder.0.mlp_out"),
        "patch": ("--source", "fast piano", "--target", "slow piano"),
        "sweep": ("--prompt", "piano"),
        "study": ("--prompt", "piano", "--steer", vectors, "--measure", "centroid"),
        "calibrate": ("--prompt", "piano", "--steer", vectors, "--target", "centroid=+1%"),
    }[command]
    done = musicsteer(command, "--model", bundle, *own, "--melody", tune, "--out", "a.wav", *LENGTH, "-q")
    assert done.code == 2
    assert done.err == (
        "error: --melody: the model 'tiny-mono' does not take a melody; export a melody checkpoint, such as "
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
    musicsteer: Runner, melody_bundle: Path, tune: Path, other_tune: Path, tmp_path: Path
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
    tuned = ("--melody", tune)
    run("extract", *model, "--prompts", prompts, *tuned, "--out", "v.safetensors", *LENGTH)
    assert all(load_file(tmp_path / "v.safetensors")[f"decoder.{i}.resid_post"].any() for i in range(3))
    sung = ("--prompt", "piano", "--steer", "v.safetensors:alpha=0.5", "--melody", tune, "--score")
    run("generate", *model, *sung, "--out", "a.wav", *LENGTH)
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["kl_nats"] > 0
    grid = ("--prompts", neutral, "--seeds", "0:2", "--steer", "v.safetensors", "--alphas", "0,0.5")
    run("sweep", *model, *grid, *tuned, "--kl", "--out", "s", *LENGTH)
    assert len((tmp_path / "s" / "runs.jsonl").read_text("utf-8").splitlines()) == 16
    run("patch", *model, "--prompts", prompts, *tuned, "--out", "p.json", *LENGTH)
    hooks = ("--prompt", "piano", "--hooks", "decoder.1.mlp_out", *tuned)
    run("record", *model, *hooks, "--out", "r.st", *LENGTH)
    target = ("--steer", "v.safetensors", "--target", "centroid=+1%", "--pairs", "8", "--check-pairs", "8")
    run("calibrate", *model, "--prompts", neutral, *target, *tuned, "--out", "c.json", *LENGTH)
    study = ("study", *model, "--steer", "v.safetensors", "--measure", "centroid", "--out", "study")
    study += ("--prompt", "piano", "--seeds", "0:8", "--controls", "4", "--no-audio", *LENGTH)
    run(*study, *tuned)

    heard = hashlib.sha256(tune.read_bytes()).hexdigest()
    assert json.loads(musicsteer("inspect", "v.safetensors", "--json").out)["melody_sha256"] == heard
    for record in records(tmp_path / "s") + records(tmp_path / "study" / "layers"):
        assert record["melody_sha256"] == heard
    assert json.loads((tmp_path / "p.json").read_text("utf-8"))["melody_sha256"] == heard
    with safe_open(tmp_path / "r.st", "pt") as recorded:
        assert recorded.metadata()["melody_sha256"] == heard
    evidence = json.loads((tmp_path / "c.json").read_text("utf-8"))["evidence"]
    assert evidence["settings"]["melody_sha256"] == heard
    done = musicsteer(*study, "--melody", other_tune)
    assert done.code == 1 and "belongs to another study: melody_sha256 differs" in done.err


def test_what_is_measured_depends_on_the_melody(
    musicsteer: Runner, melody_bundle: Path, tune: Path, other_tune: Path, tmp_path: Path
) -> None:
    """A run that recorded the hash and played without the melody would pass the test above."""
    pairs = ("--source", "fast drums", "--target", "slow drums")
    runs = {
        "extract": ("--prompts", ROOT / "prompts" / "tempo.json", "--limit", "1", "--out", "out.safetensors"),
        "record": ("--prompt", "piano", "--hooks", "decoder.1.mlp_out", "--out", "out.safetensors"),
        "patch": (*pairs, "--sites", "mlp_out", "--out", "p.json", "--save-codes", "out.safetensors"),
    }
    for command, arguments in runs.items():
        found = []
        for melody in ((), ("--melody", tune), ("--melody", other_tune)):
            done = musicsteer(
                command, "--model", melody_bundle, *arguments, *melody, "--force", *LENGTH, "-q"
            )
            assert done.code == 0, done.err
            found.append(load_file(tmp_path / "out.safetensors"))
        for one, other in itertools.combinations(found, 2):
            assert any(not torch.equal(one[name], other[name]) for name in one), command


def test_a_sweep_keeps_its_melody(
    musicsteer: Runner, melody_bundle: Path, tune: Path, other_tune: Path, tmp_path: Path
) -> None:
    grid = ("sweep", "--model", melody_bundle, "--prompt", "piano", "--threads", "1", *LENGTH)

    def ids(out: str, *melody: str | Path) -> set[str]:
        done = musicsteer(*grid, "--seeds", "0:2", *melody, "--out", out, "-q")
        assert done.code == 0, done.err
        return {record["id"] for record in records(tmp_path / out)}

    plain, sung, other = ids("plain"), ids("s", "--melody", tune), ids("other", "--melody", other_tune)
    assert len(plain | sung | other) == 6, "a clip's ID depends on its melody"
    assert (
        not {"melody", "melody_sha256"}
        & json.loads((tmp_path / "plain" / "plan.json").read_text("utf-8")).keys()
    )
    for melody in ((), ("--melody", other_tune)):
        done = musicsteer(*grid, "--seeds", "0:3", *melody, "--out", "s")
        assert done.code == 1 and "belongs to another plan: melody_sha256" in done.err
    assert musicsteer(*grid, "--seeds", "0:3", "--melody", tune, "--out", "s").code == 0

    clips = tmp_path / "s" / "clips"
    sounds = {path.name: path.read_bytes() for path in clips.iterdir()}
    for path in clips.iterdir():
        path.unlink()
    assert musicsteer("sweep", "--out", "s").code == 0, "the plan says where the melody lies"
    assert {path.name: path.read_bytes() for path in clips.iterdir()} == sounds
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"prompts": ["piano"], "melody": tune.name}), "utf-8")
    same = ("--plan", plan, "--model", melody_bundle, "--batch-size", "2", "--threads", "1")
    assert musicsteer("sweep", *same, "--melody", tune, "--out", "t").code == 2
    tune.write_bytes(other_tune.read_bytes())
    next(clips.iterdir()).unlink()
    done = musicsteer("sweep", "--out", "s")
    assert done.code == 1
    assert done.errors == [
        f"error: {tune}: is not the file that the plan was made with (its SHA-256 differs)"
    ]


def test_the_report_tells_melodies_apart(
    musicsteer: Runner, melody_bundle: Path, tune: Path, other_tune: Path, tmp_path: Path
) -> None:
    grid = ("sweep", "--model", melody_bundle, "--prompt", "piano", "--seeds", "0:2", *LENGTH, "-q")
    for out, melody in (("one", tune), ("two", other_tune)):
        assert musicsteer(*grid, "--melody", melody, "--out", out).code == 0
    sweep = read_sweeps([tmp_path / "one", tmp_path / "two"])
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in (tune, other_tune)}
    assert {clip.settings.parts()["melody"] for clip in sweep.clips} == hashes
    data = page_data(sweep, [], {})
    commands = [clip["command"] for clip in data["clips"]]
    assert sum(f"--melody {tune} " in command for command in commands) == 2
    assert sum(f"--melody {other_tune} " in command for command in commands) == 2
