"""`extract --like`: recordings against a contrast that the model plays itself."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from program import ROOT, Outcome, Runner
from safetensors.numpy import load_file
from test_extract import start, wait_for
from test_extract_recordings import POINT, metadata, tone

from musicsteer import export_model

SHORT = ["--duration", "0.3", "--threads", "1"]
LENGTHS_S = {"a.wav": 0.5, "b.wav": 0.5, "c.wav": 0.26}


@pytest.fixture
def liked(tmp_path: Path) -> Path:
    """Three recordings, the last of them shorter than the clips, and two prompts."""
    for i, (name, seconds) in enumerate(LENGTHS_S.items()):
        tone(tmp_path / "liked" / name, 700 + 300 * i, seconds=seconds)
    (tmp_path / "prompts.txt").write_text("piano\ndrums and a long bass line\n")
    return tmp_path


def like(musicsteer: Runner, bundle: Path, *flags: object, out: str = "v.safetensors") -> Outcome:
    return musicsteer("extract", "--model", bundle, "--like", "liked", *SHORT, *flags, "--out", out)


def test_the_vector_and_where_it_comes_from(musicsteer: Runner, bundle: Path, liked: Path) -> None:
    flags = ["--prompts", "prompts.txt", "--seed", "5", "--save-activations", "a.safetensors"]
    done = like(musicsteer, bundle, *flags)
    assert done.code == 0 and done.errors == [], done.err
    facts = metadata(liked / "v.safetensors")
    assert json.loads(facts["labels"]) == {"positive": "liked", "negative": "generated"}
    assert facts["concept"] == "liked" and facts["seed"] == "5"
    assert json.loads(facts["counts"]) == {"positive": 3, "negative": 24}
    hashes = {n: hashlib.sha256((liked / "liked" / n).read_bytes()).hexdigest() for n in LENGTHS_S}
    assert json.loads(facts["recordings"]) == {
        "caption": None,
        "skipped": 0,
        "folder": "liked",
        "sha256": hashes,
        "contrast": {"prompts": ["piano", "drums and a long bass line"]},
    }
    listed = "".join(f"{sha256}\n" for sha256 in hashes.values()) + "\n\n"
    assert facts["prompts_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    vectors, activations = load_file(liked / "v.safetensors"), load_file(liked / "a.safetensors")
    means = activations[f"positive.{POINT}"].mean(0) - activations[f"negative.{POINT}"].mean(0)
    np.testing.assert_allclose(vectors[POINT], means, rtol=1e-4, atol=1e-5)
    assert {p.name for p in liked.iterdir()} == {"liked", "prompts.txt", "v.safetensors", "a.safetensors"}

    again = like(musicsteer, bundle, *flags, "--force", out="again.safetensors")
    assert again.code == 0
    assert (liked / "again.safetensors").read_bytes() == (liked / "v.safetensors").read_bytes()
    other = like(musicsteer, bundle, "--prompts", "prompts.txt", "--seed", "6", out="other.safetensors")
    assert other.code == 0
    assert not np.allclose(load_file(liked / "other.safetensors")[POINT], vectors[POINT], atol=1e-4)


@pytest.mark.parametrize(
    "shape",
    [checkpoints.SHAPES[0], checkpoints.SHAPES[1], checkpoints.MELODY_SHAPES[1]],
    ids=lambda s: s.name,
)
def test_the_contrast_is_what_generate_plays(
    musicsteer: Runner, liked: Path, shape: checkpoints.Shape
) -> None:
    """And it is heard as recordings of it are: through the codec, without a prompt, cut alike."""
    bundle = liked / "bundle"
    checkpoint = str(checkpoints.save(shape, liked))
    assert export_model.main([checkpoint, str(bundle), "--no-verify"]) == 0
    (liked / "prompts.txt").write_text("drums\n")
    generate = ["generate", "--model", bundle, "--prompt", "drums", "--seeds", "5:29", *SHORT]
    generate += ["--format", "float"]
    assert musicsteer(*generate, "--out", "played/").code == 0
    recorded = musicsteer(
        "extract", "--model", bundle, "--positive-audio", "played", "--negative-audio", "liked", *SHORT,
        "--save-activations", "recorded.safetensors", "--out", "r.safetensors",
    )  # fmt: skip
    assert recorded.code == 0, recorded.err
    flags = ["--prompts", "prompts.txt", "--seed", "5", "--save-activations", "a.safetensors"]
    assert like(musicsteer, bundle, *flags).code == 0
    other, own = load_file(liked / "recorded.safetensors"), load_file(liked / "a.safetensors")
    np.testing.assert_array_equal(own[f"positive.{POINT}"], other[f"negative.{POINT}"])
    expected, found = other[f"positive.{POINT}"], own[f"negative.{POINT}"]
    assert found.shape == expected.shape and len(found) == 24
    whole = np.arange(24) % 3 != 2  # those as long as a.wav and b.wav
    np.testing.assert_array_equal(found[whole], expected[whole])
    assert np.abs(found[~whole] - expected[~whole]).max(axis=1).min() > 1e-4


def test_flags_matter(musicsteer: Runner, bundle: Path, liked: Path) -> None:
    runs = {
        "plain": ["--prompts", "prompts.txt"],
        "limit": ["--prompts", "prompts.txt", "--limit", "1"],
        "neutral": [],
        "caption": ["--prompts", "prompts.txt", "--caption", "fast piano"],
        "both": ["--prompts", "prompts.txt", "--caption", "fast piano", "--rows", "both"],
        "guidance": ["--prompts", "prompts.txt", "--guidance", "1"],
    }
    vectors = []
    for name, flags in runs.items():
        done = like(musicsteer, bundle, *flags, out=f"{name}.safetensors")
        assert done.code == 0, done.err
        vectors.append(load_file(liked / f"{name}.safetensors")[POINT].tobytes())
    assert len(set(vectors)) == len(runs)
    neutral = json.loads(metadata(liked / "neutral.safetensors")["recordings"])["contrast"]["prompts"]
    assert neutral == json.loads((ROOT / "prompts" / "neutral.json").read_text())["prompts"]
    assert json.loads(metadata(liked / "neutral.safetensors")["counts"])["negative"] == 64


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_one_that_was_stopped_is_resumed(
    musicsteer: Runner, bundle: Path, cache: Path, liked: Path, how: signal.Signals
) -> None:
    flags = ["--prompts", "prompts.txt", "--batch-size", "1"]
    whole = like(musicsteer, bundle, *flags, out="whole.safetensors")
    assert whole.code == 0, whole.err
    command = ["extract", "--model", bundle, "--like", "liked", *SHORT, *flags, "--out", "v.safetensors"]
    process = start(command, liked, cache)
    progress = liked / ".v.safetensors.progress"
    wait_for(progress, process)
    process.send_signal(how)
    _, err = process.communicate()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "error: interrupted; the same command resumes from .v.safetensors.progress" in err
    assert not (liked / "v.safetensors").exists()

    other = like(musicsteer, bundle, *flags, "--seed", "7")
    assert other.code == 1 and len(other.errors) == 1 and 'seed was "0" and is "7"' in other.errors[0]
    resumed = like(musicsteer, bundle, *flags)
    assert resumed.code == 0, resumed.err
    assert "resuming after" in resumed.err
    assert (liked / "v.safetensors").read_bytes() == (liked / "whole.safetensors").read_bytes()
    assert not progress.exists()


BAD = {
    "no folder": (["--like", "absent"], 1, "absent"),
    "a file": (["--like", "liked/a.wav"], 1, "expected a folder of recordings"),
    "empty": (["--like", "empty"], 1, "at least 2 usable recordings"),
    "two sides": (["--like", "liked", "--negative-audio", "liked"], 2, "more than one source"),
    "prompts of a side": (["--like", "liked", "--positive", "p", "--negative", "n"], 2, "more than one"),
    "a concept set": (["--like", "liked", "--prompts", "tempo"], 1, "a concept set with two sides"),
    "value": (["--like", "liked", "--value", "tempo"], 2, "--value has no effect with --like"),
    "melody": (["--like", "liked", "--melody", "m.wav"], 2, "--melody has no effect with --like"),
    "ridge": (["--like", "liked", "--method", "ridge"], 2, "recordings"),
    "pca": (["--like", "liked", "--method", "pca"], 2, "paired"),
    "both rows": (["--like", "liked", "--rows", "both"], 2, "caption"),
    "activations": (["--like", "liked", "--from-activations", "a"], 2, "--like has no effect"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_flags(musicsteer: Runner, bundle: Path, liked: Path, case: str) -> None:
    flags, code, words = BAD[case]
    (liked / "empty").mkdir()
    model = [] if case == "activations" else ["--model", bundle, *SHORT]
    done = musicsteer("extract", *model, *flags, "--out", "v.safetensors")
    assert done.code == code, (done.out, done.err)
    assert len(done.errors) == 1 and words in done.errors[0], done.err
    assert not (liked / "v.safetensors").exists()
