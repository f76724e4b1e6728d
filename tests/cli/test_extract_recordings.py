"""`extract` from recordings, and from prompts with numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import ROOT, Outcome, Runner
from safetensors import safe_open
from safetensors.numpy import load_file

TEMPO = ROOT / "prompts" / "tempo.json"
THREADS = ["--threads", "1"]
POINT = "decoder.1.resid_post"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as opened:
        return opened.metadata()


def tone(
    path: Path, frequency_hz: float, rate: int = 32_000, channels: int = 1, seconds: float = 0.5
) -> None:
    path.parent.mkdir(exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * frequency_hz * time) + 0.05 * np.sin(2 * np.pi * 3 * frequency_hz * time)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for i, frequency in enumerate((900, 1100, 1300)):
        tone(tmp_path / "high" / f"{i}.wav", frequency)
    tone(tmp_path / "low" / "0.flac", 200, rate=44_100, channels=2)
    tone(tmp_path / "low" / "1.wav", 250, rate=8_000)
    tone(tmp_path / "low" / "2.ogg", 300, rate=48_000, channels=3)
    return tmp_path


def extract(musicsteer: Runner, bundle: Path, *flags: object, out: str = "v.safetensors") -> Outcome:
    return musicsteer(
        "extract", "--model", bundle, "--duration", "0.3", *THREADS, "--out", out, *map(str, flags)
    )


SIDES = ("--positive-audio", "high", "--negative-audio", "low")


def test_vectors_of_recordings(musicsteer: Runner, bundle: Path, folders: Path) -> None:
    done = extract(musicsteer, bundle, *SIDES, "--save-activations", "a.safetensors")
    assert done.code == 0, done.err
    assert done.err == ""
    facts = metadata(folders / "v.safetensors")
    assert json.loads(facts["labels"]) == {"positive": "high", "negative": "low"}
    assert json.loads(facts["counts"]) == {"positive": 3, "negative": 3}
    assert json.loads(facts["recordings"]) == {"caption": None, "skipped": 0}
    assert facts["concept"] == "high" and "value" not in facts
    vectors, activations = load_file(folders / "v.safetensors"), load_file(folders / "a.safetensors")
    means = activations[f"positive.{POINT}"].mean(0) - activations[f"negative.{POINT}"].mean(0)
    np.testing.assert_allclose(vectors[POINT], means, rtol=1e-4, atol=1e-5)
    assert np.abs(vectors[POINT]).max() > 1e-3

    again = extract(musicsteer, bundle, *SIDES, out="again.safetensors")
    assert again.code == 0
    assert (folders / "again.safetensors").read_bytes() == (folders / "v.safetensors").read_bytes()
    probe = musicsteer(
        "extract", "--from-activations", "a.safetensors", "--method", "logistic", "--out", "p.safetensors"
    )
    assert probe.code == 0, probe.err
    assert json.loads(metadata(folders / "p.safetensors")["recordings"]) == {"caption": None, "skipped": 0}


def test_captions_rows_and_positions_matter(musicsteer: Runner, bundle: Path, folders: Path) -> None:
    runs = {
        "plain": [],
        "last": ["--positions", "last"],
        "window": ["--positions", "window:0.1-0.2"],
        "caption": ["--caption", "fast piano"],
        "both": ["--caption", "fast piano", "--rows", "both"],
    }
    vectors = []
    for name, flags in runs.items():
        done = extract(musicsteer, bundle, *SIDES, *flags, out=f"{name}.safetensors")
        assert done.code == 0, done.err
        vectors.append(load_file(folders / f"{name}.safetensors")[POINT].tobytes())
    assert len(set(vectors)) == len(runs)
    assert json.loads(metadata(folders / "caption.safetensors")["recordings"])["caption"] == "fast piano"


def test_measured_recordings(musicsteer: Runner, bundle: Path, folders: Path) -> None:
    for file in (folders / "low").iterdir():
        file.rename(folders / "high" / f"low-{file.name}")
    done = extract(
        musicsteer, bundle, "--audio", "high", "--value", "centroid", "--method", "ridge",
        "--save-activations", "a.safetensors",
    )  # fmt: skip
    assert done.code == 0, done.err
    facts = metadata(folders / "v.safetensors")
    assert facts["value"] == "spectral_centroid_hz" and facts["method"] == "ridge"
    assert json.loads(facts["labels"]) == {"positive": "high", "negative": "low"}
    assert facts["concept"] == "centroid"
    values = json.loads(metadata(folders / "a.safetensors")["values"])
    assert min(values["positive"]) > max(values["negative"]) > 150
    layers = json.loads(facts["layers"])
    assert set(layers[POINT]) >= {"r", "accuracy", "cohens_d", "silhouette", "cosine_to_mean_diff"}


def test_bad_recordings_are_named_and_skipped(musicsteer: Runner, bundle: Path, folders: Path) -> None:
    (folders / "high" / "notes.txt").write_text("not audio")
    soundfile.write(folders / "low" / "silence.wav", np.zeros(16_000), 32_000)
    soundfile.write(folders / "low" / "short.wav", 0.5 * np.ones(100), 32_000)
    done = extract(musicsteer, bundle, *SIDES)
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert len(lines) == 4
    for name, reason in (("notes.txt", "read"), ("silence.wav", "silent"), ("short.wav", "short")):
        assert any(name in line and reason in line and line.startswith("warning: ") for line in lines)
    assert "3 files skipped, 6 recordings used" in lines[-1]
    assert json.loads(metadata(folders / "v.safetensors")["recordings"])["skipped"] == 3

    for file in ("0.flac", "1.wav"):
        (folders / "low" / file).unlink()
    done = extract(musicsteer, bundle, *SIDES, out="w.safetensors")
    assert done.code == 1 and len(done.errors) == 1
    assert "at least 2 usable recordings" in done.errors[0] and "2 skipped" in done.errors[0]
    assert not (folders / "w.safetensors").exists()


BAD = {
    "one side": (["--positive-audio", "high"], 2, "go together"),
    "no folder": (["--positive-audio", "absent", "--negative-audio", "low"], 1, "absent"),
    "a file": (["--positive-audio", "high/0.wav", "--negative-audio", "low"], 1, "folder"),
    "with prompts": ([*SIDES, "--prompts", str(TEMPO)], 2, "more than one source"),
    "audio and sides": (["--audio", "high", *SIDES, "--value", "tempo"], 2, "give --audio, or"),
    "audio without value": (["--audio", "high"], 2, "--value"),
    "unknown value": (["--audio", "high", "--value", "loudness"], 2, "tempo or centroid"),
    "value of prompts": (["--prompts", str(TEMPO), "--value", "tempo"], 2, "--value has no effect"),
    "caption of prompts": (["--prompts", str(TEMPO), "--caption", "x"], 2, "--caption has no effect"),
    "ridge without value": ([*SIDES, "--method", "ridge"], 2, "--value"),
    "pca": ([*SIDES, "--method", "pca"], 2, "paired"),
    "both rows": ([*SIDES, "--rows", "both"], 2, "caption"),
    "seed": ([*SIDES, "--seed", "3"], 2, "--seed"),
    "tempo prior": ([*SIDES, "--tempo-prior", "100:1"], 2, "--tempo-prior"),
    "bad prior": (["--audio", "high", "--value", "tempo", "--tempo-prior", "x"], 2, "tempo prior"),
    "window": ([*SIDES, "--positions", "window:5-6"], 2, "window"),
    "positions": ([*SIDES, "--positions", "median"], 2, "unknown positions 'median'"),
    "no window": ([*SIDES, "--positions", "window:a-b"], 2, "positions 'window:a-b'"),
    "empty window": ([*SIDES, "--positions", "window:0.2-0.1"], 2, "positions 'window:0.2-0.1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_flags(musicsteer: Runner, bundle: Path, folders: Path, case: str) -> None:
    flags, code, word = BAD[case]
    done = extract(musicsteer, bundle, *flags)
    assert done.code == code, (done.out, done.err)
    assert len(done.errors) == 1 and word in done.errors[0].lower(), done.err
    assert not (folders / "v.safetensors").exists()


def test_prompts_with_numbers(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    prompts = [{"text": f"piano at {bpm} bpm", "value": bpm} for bpm in (60, 150, 80, 170, 100, 130)]
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"concept": "tempo", "prompts": prompts}))
    flags = ["--prompts", "p.json", "--method", "ridge", "--save-activations", "a.safetensors"]
    done = extract(musicsteer, bundle, *flags)
    assert done.code == 0, done.err
    facts = metadata(tmp_path / "v.safetensors")
    assert facts["value"] == "prompt" and json.loads(facts["counts"]) == {"positive": 3, "negative": 3}
    assert json.loads(metadata(tmp_path / "a.safetensors")["values"]) == {
        "positive": [150.0, 170.0, 130.0], "negative": [60.0, 80.0, 100.0],
    }  # fmt: skip

    for prompts_now, word in (
        ([*prompts[:-1], "piano"], "all or none"),
        ([{"text": "a", "value": 1}, {"text": "b", "value": 1}], "different values"),
    ):
        path.write_text(json.dumps({"concept": "tempo", "prompts": prompts_now}))
        done = extract(musicsteer, bundle, "--prompts", "p.json", "--method", "ridge", out="w.safetensors")
        assert done.code == 1 and word in done.err
    done = extract(musicsteer, bundle, "--prompts", TEMPO, "--method", "ridge", out="w.safetensors")
    assert done.code == 2 and "number" in done.err
