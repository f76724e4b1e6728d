"""Values that are typed by accident, outputs that collide, and strengths that make no sense."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from program import PROGRAM, Runner, environment
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

SHORT = ["--duration", "0.1", "--threads", "1"]


def generate(bundle: Path, *arguments: str | Path) -> list[str | Path]:
    return ["generate", "--model", bundle, "--prompt", "piano", *SHORT, *arguments]


@pytest.mark.parametrize("flag", ["--duration", "--guidance", "--alpha", "--seeds", "--batch-size", "--out"])
def test_an_empty_value_is_an_error(musicsteer: Runner, bundle: Path, tmp_path: Path, flag: str) -> None:
    for value in ([flag, ""], [f"{flag}="]):
        done = musicsteer("generate", "--model", bundle, "--prompt", "piano", "--out", "a.wav", *value)
        assert done.code == 2 and len(done.err.splitlines()) == 1
        assert f"{flag}: its value is empty" in done.errors[0]
    assert list(tmp_path.glob("*.wav")) == []


def test_a_prompt_may_be_empty(musicsteer: Runner, bundle: Path) -> None:
    empty = ["generate", "--model", bundle, "--prompt", "", "--negative-prompt", "", *SHORT, "--out", "a.wav"]
    assert musicsteer(*empty).code == 0


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616", "1.5", "x"])
def test_seeds_are_whole_numbers_of_64_bits(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, seed: str
) -> None:
    extract = ["extract", "--model", bundle, "--prompts", "p.json", "--out", "v.safetensors"]
    for command in (extract, ["vector", "random", vectors, "--out", "r.safetensors"]):
        done = musicsteer(*command, f"--seed={seed}")
        assert done.code == 2
        assert f"'{seed}' is not a whole number from 0 to 18446744073709551615" in done.errors[0]
    assert list(tmp_path.glob("*.safetensors")) == []


@pytest.mark.parametrize("threads", ["-1", "100000"])
def test_thread_counts_in_range(musicsteer: Runner, bundle: Path, threads: str) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--out", "a.wav", f"--threads={threads}"
    )
    assert done.code == 2 and "0" in done.errors[0] and "1024" in done.errors[0] and len(done.err) < 200


def test_clips_are_audio_files(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    for name in ("a.aiff", "a.json", "a"):
        done = musicsteer(*generate(bundle, "--out", name))
        assert done.code == 2 and f"--out {name}: clips are written as .wav, .flac" in done.errors[0]
    assert list(tmp_path.glob("a*")) == [] and not (tmp_path / "-").exists()


@pytest.mark.parametrize("codes", ["a.wav", "./a.wav", "a.json", "a.steering.json"])
def test_codes_do_not_take_the_name_of_a_clips_file(
    musicsteer: Runner, bundle: Path, tmp_path: Path, codes: str
) -> None:
    done = musicsteer(*generate(bundle, "--out", "a.wav", "--save-codes", codes, "--force"))
    assert done.code == 2 and "is also one of the clips' files" in done.errors[0]
    assert list(tmp_path.glob("a*")) == []


def test_vector_operations_keep_their_inputs(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    shutil.copy(vectors, tmp_path / "t.safetensors")
    before = (tmp_path / "t.safetensors").read_bytes()
    done = musicsteer("vector", "scale", "t.safetensors", "--by", "2", "--out", "./t.safetensors", "--force")
    assert done.code == 1 and "would replace a file that this command reads" in done.errors[0]
    assert (tmp_path / "t.safetensors").read_bytes() == before


def test_a_steering_file_is_not_replaced_by_the_clip_it_steers(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*generate(bundle, "--steer", vectors, "--out", "a.wav")).code == 0
    before = (tmp_path / "a.steering.json").read_bytes()
    again = musicsteer(*generate(bundle, "--steer", "a.steering.json", "--out", "a.wav", "--force"))
    assert again.code == 1 and "would replace a file that this command reads" in again.errors[0]
    assert (tmp_path / "a.steering.json").read_bytes() == before


def test_strengths_that_drown_the_music_and_vectors_of_nothing(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    strong = musicsteer(*generate(bundle, "--steer", f"{vectors}:alpha=-50000", "--out", "a.wav"))
    assert "times its mean activation norm: expect noise" in strong.err
    weak = musicsteer(*generate(bundle, "--steer", f"{vectors}:alpha=0.5", "--out", "b.wav"))
    assert weak.code == 0 and "noise" not in weak.err
    with safe_open(vectors, "np") as opened:
        metadata = opened.metadata()
    save_file({name: value * 0 for name, value in load_file(vectors).items()}, tmp_path / "z.st", metadata)
    zero = musicsteer(*generate(bundle, "--steer", "z.st", "--out", "c.wav"))
    assert zero.code == 0 and "z.st: its vectors are zero: they steer nothing" in zero.err


def test_a_sweep_warns_of_its_strongest_alpha_and_of_repetitions(
    musicsteer: Runner, bundle: Path, vectors: Path
) -> None:
    sweep = ["sweep", "--model", bundle, *SHORT, "--steer", vectors, "--no-audio", "--dry-run", "--out", "s"]
    layers = ["--layers", "0,1", "--strategies", "single"]
    strong = musicsteer(*sweep, "--prompt", "piano", "--alphas=-50000,0,0.1", *layers)
    assert strong.code == 0 and strong.err.count("times its mean activation norm: expect noise") == 1
    assert "alpha -50000 pushes layer" in strong.err
    usual = musicsteer(*sweep, "--prompt", "piano", "--alphas", "0.1")
    assert usual.code == 0 and usual.err == "", usual.err
    twice = ["--prompt", "piano", "--prompt", "piano", "--seeds", "0,0,1,0"]
    repeated = musicsteer(*sweep, "--alphas", "0.1", *twice)
    assert repeated.code == 0 and repeated.out.startswith("2 clips, ")
    assert "1 repeated prompt left out" in repeated.err and "2 repeated seeds left out" in repeated.err
    one = musicsteer(*sweep, "--alphas", "0.1", "--prompt", "piano")
    assert one.out.startswith("1 clip, 1 of them to make, in 1 batch of")


def test_a_sweep_runs_with_the_threads_that_its_records_state(bundle: Path, tmp_path: Path) -> None:
    core = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [PROGRAM, "sweep", "--model", bundle, "--prompt", "piano", "--duration", "0.1", "--out", "s"],
        cwd=tmp_path, env=environment(tmp_path / "cache"), capture_output=True, text=True, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "s" / "runs.jsonl").read_text().splitlines()[0])
    assert record["execution"]["threads"] == 1


def test_the_default_is_a_thread_for_each_core_everywhere(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """The same clip, cost included, whoever makes it; and the records state the threads that made it."""
    short = ["--model", bundle, "--prompt", "piano", "--duration", "0.1", "--batch-size", "4"]
    steered = [*short, "--steer", f"{vectors}:layers=1"]
    assert musicsteer("sweep", *steered, "--alphas", "0,1", "--kl", "--out", "s").code == 0
    assert musicsteer("generate", *steered, "--alpha", "1", "--score", "--out", "g.wav").code == 0
    lines = (tmp_path / "s" / "runs.jsonl").read_text().splitlines()
    swept = next(record for record in map(json.loads, lines) if record["steering"])
    made = json.loads((tmp_path / "g.json").read_text())
    assert made["execution"] == swept["execution"] and made["kl_nats"] == swept["kl_nats"] > 0
    assert (tmp_path / "g.wav").read_bytes() == (tmp_path / "s" / swept["file"]).read_bytes()
    pair = ["--source", "piano", "--target", "organ", "--sites", "resid_post", "--duration", "0.1"]
    assert musicsteer("patch", "--model", bundle, *pair, "--out", "p.json").code == 0
    threads = json.loads((tmp_path / "p.json").read_text())["execution"]["threads"]
    assert threads == made["execution"]["threads"] <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("command", ["patch", "calibrate"])
def test_a_command_of_minutes_keeps_its_output_to_itself(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, command: str
) -> None:
    arguments = {
        "patch": ["--source", "fast piano", "--target", "slow piano"],
        "calibrate": ["--steer", vectors, "--target", "centroid=+10%", "--prompt", "piano"],
    }[command]
    with (tmp_path / ".out.json.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = musicsteer(command, "--model", bundle, *arguments, "--out", "out.json")
    assert done.code == 1 and "out.json: another process is writing it" in done.err


def test_patch_warns_of_prompts_that_the_tokenizer_hardly_knows(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    done = musicsteer(
        "patch", "--model", bundle, "--source", "fast piano", "--target", "東京 音楽", "--sites", "mlp_out",
        "--duration", "0.05", "--out", "out.json",
    )  # fmt: skip
    assert done.code == 0 and "1 of 2 prompts are, as '東京 音楽', mostly unknown" in done.err
