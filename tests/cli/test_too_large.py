"""What does not fit into memory, and texts longer than the model knows: one plain line, before any work."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from program import PROGRAM, ROOT, Runner, environment

SHORT = ["--duration", "0.1", "--threads", "1"]
TEMPO = str(ROOT / "prompts" / "tempo.json")
RUNS = {
    "generate": ["--prompt", "x", "--out", "a.wav"],
    "extract": ["--prompts", TEMPO, "--limit", "2", "--out", "t.safetensors"],
    "sweep": ["--prompt", "x", "--out", "runs"],
    "sweep --kl": ["--prompt", "x", "--kl", "--out", "runs"],
    "study": ["--prompt", "x", "--prompt", "y", "--steer", "{vectors}", "--measure", "rms", "--out", "s"],
    "calibrate": ["--prompt", "x", "--steer", "{vectors}", "--target", "rms=+5%"],
    "patch": ["--source", "x", "--target", "y", "--out", "p.json"],
    "patch --ablate": ["--ablate", "mean", "--prompt", "x", "--out", "p.json"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_batch_size_that_no_memory_holds(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, name: str
) -> None:
    arguments = [argument.replace("{vectors}", str(vectors)) for argument in RUNS[name]]
    command = [name.split()[0], "--model", bundle, "--duration", "5", "--batch-size", "20000000", *arguments]
    done = musicsteer(*command)
    assert done.code == 1 and len(done.errors) == 1, done.err
    assert done.errors[0].startswith("error: this batch needs about")
    assert done.errors[0].endswith("use a smaller --batch-size or a shorter --duration")
    assert list(tmp_path.iterdir()) == []


def test_one_that_a_limit_does_not_allow(musicsteer: Runner, bundle: Path) -> None:
    """Whatever runs out first under a limit is reported in one line, or the run succeeds."""
    told = 0
    for megabytes in (390, *range(440, 640, 40)):

        def limit(most: int = megabytes * 2**20) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))

        out = f"{megabytes}.wav"
        arguments = ["generate", "--model", bundle, "--prompt", "x", "--duration", "5", "--out", out]
        done = musicsteer(*arguments, preexec_fn=limit)
        if any(word in done.err for word in ("libgomp", "shared libraries")):
            continue  # before the program starts, or in a library that ends the process itself
        assert done.code in (0, 1) and len(done.errors) == done.code, done.err
        assert "LibTorch" not in done.err and "Exception" not in done.err, done.err
        told += 1
    if not told:
        pytest.skip("libraries do not start under these limits here")


def test_a_prompt_of_a_megabyte(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("piano " * 170_000)
    done = musicsteer("generate", "--model", bundle, "--prompts", "long.txt", *SHORT, "--out", "a.wav")
    assert done.code == 1 and len(done.err.splitlines()) == 1, done.err
    assert "use a shorter prompt" in done.err or "of memory" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["long.txt"]


@pytest.mark.parametrize("words, warns", [(20, False), (700, True)])
def test_more_tokens_than_t5_was_trained_on(
    musicsteer: Runner, bundle: Path, words: int, warns: bool
) -> None:
    text = " ".join(["piano"] * words)
    ids = json.loads(musicsteer("tokenize", "--model", bundle, "--json", text).out)["ids"]
    assert (len(ids) > 512) == warns
    short = ["--model", bundle, "--prompt", text, *SHORT]
    for command in (["generate", *short, "--out", "a.wav"], ["sweep", *short, "--out", "runs"]):
        done = musicsteer(*command)
        assert done.code == 0, done.err
        assert ("more than 512 tokens" in done.err) == warns


def test_a_long_prompt_of_a_prompt_set_is_a_warning(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    long = " ".join(["piano"] * 700)
    (tmp_path / "p.csv").write_text(f"positive,negative\nfast {long},slow {long}\nfast,slow\n")
    done = musicsteer(
        "extract", "--model", bundle, "--prompts", "p.csv", *SHORT, "-q", "--out", "t.safetensors"
    )
    assert done.code == 0 and "warning: " in done.err and "more than 512 tokens" in done.err


def test_ctrl_c_while_a_text_is_encoded(bundle: Path, cache: Path, tmp_path: Path) -> None:
    text = " ".join(["piano"] * 2_000)
    process = subprocess.Popen(
        [PROGRAM, "generate", "--model", bundle, "--prompt", text, *SHORT, "--out", "a.wav"],
        cwd=tmp_path,
        env=environment(cache),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    warning = process.stderr.readline()  # said right before it is encoded
    assert "more than 512 tokens" in warning
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []
