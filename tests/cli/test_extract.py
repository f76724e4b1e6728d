"""`musicsteer extract`, `record`, `inspect` and `tokenize` end to end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from program import PROGRAM, ROOT, Runner, environment
from safetensors import safe_open
from safetensors.numpy import load_file

TEMPO = ROOT / "prompts" / "tempo.json"
SHORT = ["--duration", "0.1", "--threads", "1"]


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as opened:
        return opened.metadata()


def test_vectors_and_their_provenance(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer(
        "extract", "--model", bundle, "--prompts", TEMPO, "--limit", "3", "--seed", "5",
        "--out", "t.safetensors", "--save-activations", "a.safetensors", *SHORT,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "decoder.2.resid_post" in done.out and "effect size" in done.out
    vectors = load_file(tmp_path / "t.safetensors")
    assert sorted(vectors) == [f"decoder.{i}.resid_post" for i in range(3)]
    assert all(v.shape == (48,) and v.dtype == np.float32 for v in vectors.values())
    facts = metadata(tmp_path / "t.safetensors")
    assert facts["concept"] == "tempo" and json.loads(facts["labels"]) == {
        "positive": "fast",
        "negative": "slow",
    }
    assert facts["seed"] == "5" and json.loads(facts["counts"]) == {"positive": 3, "negative": 3}
    assert facts["rows"] == "conditional" and facts["positions"] == "generated"
    assert len(facts["weights_sha256"]) == 64 and len(facts["prompts_sha256"]) == 64

    activations = load_file(tmp_path / "a.safetensors")
    layers = json.loads(facts["layers"])
    for name, vector in vectors.items():
        positive, negative = activations[f"positive.{name}"], activations[f"negative.{name}"]
        assert positive.shape == (3, 48)
        np.testing.assert_allclose(vector, positive.mean(0) - negative.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layers[name]["norm"], np.linalg.norm(vector), rtol=1e-5)
        projections = positive @ vector, negative @ vector
        pooled = np.sqrt((projections[0].var(ddof=1) + projections[1].var(ddof=1)) / 2)
        expected = (projections[0].mean() - projections[1].mean()) / pooled
        np.testing.assert_allclose(layers[name]["effect_size"], expected, rtol=1e-3)

    again = musicsteer("extract", "--from-activations", "a.safetensors", "--out", "again.safetensors")
    assert again.code == 0, again.err
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()


def test_sites_layers_positions_and_rows(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    base = ["extract", "--model", bundle, "--prompts", TEMPO, "--limit", "2", "--layers", "1", *SHORT]
    runs = {
        "all": [],
        "last": ["--positions", "last"],
        "window": ["--positions", "window:0.05-0.1"],
        "both": ["--rows", "both"],
        "heads": ["--site", "self_attn_heads"],
    }
    for name, flags in runs.items():
        done = musicsteer(*base, *flags, "--out", f"{name}.safetensors")
        assert done.code == 0, done.err
    vectors = {name: next(iter(load_file(tmp_path / f"{name}.safetensors").values())) for name in runs}
    assert metadata(tmp_path / "window.safetensors")["positions"] == "window:0.05-0.1"
    assert list(load_file(tmp_path / "heads.safetensors")) == ["decoder.1.self_attn_heads"]
    assert len({vector.tobytes() for vector in vectors.values()}) == len(runs)
    done = musicsteer(
        "generate",
        "--model",
        bundle,
        "--prompt",
        "x",
        "--steer",
        "heads.safetensors",
        "--out",
        "h.wav",
        *SHORT,
    )
    assert done.code == 0, done.err


def test_the_difference_is_what_record_shows(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    """One prompt a side: the vector is the difference of the recorded conditional rows' means."""
    sides = {"positive": "fast piano", "negative": "slow piano"}
    prompts = {side: {"label": side, "prompts": [text]} for side, text in sides.items()}
    (tmp_path / "p.json").write_text(json.dumps({"concept": "speed", **prompts}))
    done = musicsteer(
        "extract", "--model", bundle, "--prompts", "p.json", "--seed", "3", "--batch-size", "1", "--out",
        "v.safetensors", *SHORT,
    )  # fmt: skip
    assert done.code == 0, done.err
    means = {}
    for side, text in sides.items():
        done = musicsteer(
            "record", "--model", bundle, "--prompt", text, "--seed", "3", "--hooks",
            "decoder.1.resid_post,decoder.embed", "--out", f"{side}.safetensors", *SHORT,
        )  # fmt: skip
        assert done.code == 0, done.err
        recorded = load_file(tmp_path / f"{side}.safetensors")
        assert recorded["decoder.embed"].shape == (2, 40, 48)
        assert json.loads(metadata(tmp_path / f"{side}.safetensors")["rows"]) == ["conditional", "null"]
        means[side] = recorded["decoder.1.resid_post"][0].mean(0)
    vector = load_file(tmp_path / "v.safetensors")["decoder.1.resid_post"]
    np.testing.assert_allclose(vector, means["positive"] - means["negative"], atol=2e-5)


def start(arguments: list[object], folder: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments)], cwd=folder, env=environment(cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_extraction_that_was_stopped_goes_on(
    musicsteer: Runner, bundle: Path, cache: Path, tmp_path: Path, how: signal.Signals
) -> None:
    base = ["extract", "--model", bundle, "--prompts", TEMPO, "--limit", "20", "--batch-size", "2", *SHORT]
    whole = musicsteer(*base, "--out", "whole.safetensors")
    assert whole.code == 0, whole.err

    process = start([*base, "--out", "t.safetensors"], tmp_path, cache)
    wait_for(tmp_path / ".t.safetensors.progress", process)
    process.send_signal(how)
    _, err = process.communicate()
    if how == signal.SIGINT:
        assert process.returncode == 130
        said = [line for line in err.splitlines() if not line.startswith("extracting tempo: ")]
        assert len(said) == 1 and said[0].startswith("error: interrupted"), err
    assert not (tmp_path / "t.safetensors").exists()

    resumed = musicsteer(*base, "--out", "t.safetensors")
    assert resumed.code == 0, resumed.err
    assert "resuming after" in resumed.err
    assert (tmp_path / "t.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    leftovers = {p.name for p in tmp_path.iterdir()} - {"t.safetensors", "whole.safetensors"}
    assert all(name.startswith(".t.safetensors.progress.tmp") for name in leftovers) or not leftovers


def test_an_unfinished_extraction_is_not_dropped_for_another(
    musicsteer: Runner, bundle: Path, cache: Path, tmp_path: Path
) -> None:
    base = ["extract", "--model", bundle, "--prompts", TEMPO, "--limit", "20", "--batch-size", "2", *SHORT]
    process = start([*base, "--out", "t.safetensors"], tmp_path, cache)
    progress = tmp_path / ".t.safetensors.progress"
    wait_for(progress, process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    kept = progress.read_bytes()
    other = [*base, "--seed", "7", "--out", "t.safetensors"]
    refused = musicsteer(*other)
    assert refused.code == 1 and len(refused.errors) == 1
    assert 'seed was "0" and is "7"' in refused.errors[0] and "--force" in refused.errors[0]
    assert progress.read_bytes() == kept
    assert musicsteer(*other, "--force").code == 0
    assert not progress.exists() and json.loads(metadata(tmp_path / "t.safetensors")["seed"]) == 7


def test_one_output_is_made_by_one_process(
    musicsteer: Runner, bundle: Path, cache: Path, tmp_path: Path
) -> None:
    base = ["extract", "--model", bundle, "--prompts", TEMPO, "--limit", "20", "--batch-size", "2", *SHORT]
    process = start([*base, "--out", "t.safetensors"], tmp_path, cache)
    wait_for(tmp_path / ".t.safetensors.progress", process)
    second = musicsteer(*base, "--out", "t.safetensors")
    assert process.poll() is None, "the first was to be at work still"
    assert second.code == 1 and "t.safetensors: another process is writing it" in second.errors[0]
    assert musicsteer(*base, "--seed", "1", "--layers", "1", "--out", "other.safetensors").code == 0
    process.communicate()
    assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"t.safetensors", "other.safetensors"}


def test_a_direction_of_nothing_is_said(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    side = {"prompts": ["piano", "organ"]}
    prompts = {"concept": "none", "positive": {"label": "a", **side}, "negative": {"label": "b", **side}}
    (tmp_path / "same.json").write_text(json.dumps(prompts))
    done = musicsteer(
        "extract", "--model", bundle, "--prompts", "same.json", *SHORT, "--out", "t.safetensors"
    )
    assert done.code == 0 and "every direction is zero" in done.err
    differing = ["extract", "--model", bundle, "--prompts", TEMPO, "--limit", "1", *SHORT]
    assert "zero" not in musicsteer(*differing, "--out", "u.safetensors").err


def test_ctrl_c_stops_generating_and_leaves_no_half_file(bundle: Path, cache: Path, tmp_path: Path) -> None:
    process = start(
        ["generate", "--model", bundle, "--prompt", "x", "--seeds", "0:400", "--batch-size", "2",
         "--duration", "0.5", "--threads", "1", "--out", "clips"], tmp_path, cache,
    )  # fmt: skip
    wait_for(tmp_path / "clips" / "clips.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "error: interrupted" in err
    records = (tmp_path / "clips" / "clips.jsonl").read_text().splitlines()
    wavs = sorted(path.name for path in (tmp_path / "clips").iterdir() if path.name != "clips.jsonl")
    assert wavs == sorted(json.loads(line)["file"] for line in records)


def test_inspect_says_what_each_file_is(musicsteer: Runner, bundle: Path, vectors: Path) -> None:
    for path, kind, words in (
        (bundle, "bundle", ["tiny-mono", "licence", "verified"]),
        (vectors, "vectors", ["tempo", "fast - slow", "decoder.1.resid_post"]),
        (TEMPO, "prompt set", ["tempo", "100 prompts"]),
        (ROOT / "prompts" / "neutral.json", "prompt list", ["64 prompts"]),
    ):
        text = musicsteer("inspect", path)
        assert text.code == 0, text.err
        for word in words:
            assert word in text.out
        data = json.loads(musicsteer("inspect", path, "--json").out)
        assert data["kind"] == kind


def test_tokenize_equals_tokenizers(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    import tokenizers

    reference = tokenizers.Tokenizer.from_file(str(bundle / "tokenizer.json"))
    texts = ["fast piano", "", "ﬁne 🎹 Ünïcode"]
    done = musicsteer("tokenize", "--model", bundle, "--json", *texts)
    assert done.code == 0, done.err
    got = [json.loads(line) for line in done.out.splitlines()]
    assert [item["ids"] for item in got] == [reference.encode(text).ids for text in texts]
    (tmp_path / "t.txt").write_text("fast piano\nslow\n")
    assert len(musicsteer("tokenize", "--model", bundle, "--file", "t.txt").out.splitlines()) == 2
