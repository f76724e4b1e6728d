"""Steering files that recommend a strength: `generate --steer FILE.json` and `inspect`, end to end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from program import Runner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

SHORT = ["--duration", "0.1", "--threads", "1"]
INLINE = ":layers=1-2:source-layer=1:rows=conditional:unit=unit"


@pytest.fixture
def recommended(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> dict:
    """A steering file in presets/p.json, made from a clip's record; its vectors lie in a folder beside."""
    (tmp_path / "vectors").mkdir()
    shutil.copy(vectors, tmp_path / "vectors" / "tempo.safetensors")
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "piano", *SHORT,
        "--steer", f"vectors/tempo.safetensors{INLINE}:alpha=3", "--out", "steered.wav",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "steered.json").read_text())
    entry = {
        **record["steering"][0],
        "file": "../vectors/tempo.safetensors",
        "alpha_range": [1.0, 4.0],
    }
    content = {
        "format": "musicsteer-steering",
        "format_version": 1,
        "oldest_reader": 1,
        "musicsteer": record["musicsteer"],
        "model": record["model"],
        "steering": [entry],
        "evidence": {"command": "calibrate", "seeds": [0, 1]},
    }
    write(tmp_path, content)
    return content


def write(tmp_path: Path, content: dict) -> None:
    (tmp_path / "presets").mkdir(exist_ok=True)
    (tmp_path / "presets" / "p.json").write_text(json.dumps(content))


def generate(bundle: Path, *arguments: str) -> list[str | Path]:
    return ["generate", "--model", bundle, "--prompt", "piano", *SHORT, *arguments]


def test_it_is_the_steering_it_was_made_of(
    musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path
) -> None:
    done = musicsteer(*generate(bundle, "--steer", "presets/p.json", "--out", "a.wav"))
    assert done.code == 0 and "range" not in done.err and "weights" not in done.err, done.err
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "steered.wav").read_bytes()
    record = json.loads((tmp_path / "a.json").read_text())
    assert record == {**json.loads((tmp_path / "steered.json").read_text()), "file": "a.wav"}


def test_alpha_beside_it(musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path) -> None:
    inside = musicsteer(*generate(bundle, "--steer", "presets/p.json", "--alpha", "1.5", "--out", "a.wav"))
    assert inside.code == 0 and "range" not in inside.err, inside.err
    outside = musicsteer(*generate(bundle, "--steer", "presets/p.json", "--alpha", "-8", "--out", "b.wav"))
    assert outside.code == 0
    assert re.search(r"alpha -8 is outside the range that presets/p\.json recommends, 1 to 4", outside.err)
    typed = musicsteer(
        *generate(bundle, "--steer", f"vectors/tempo.safetensors{INLINE}:alpha=-8", "--out", "c.wav")
    )
    assert typed.code == 0
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "b.wav").read_bytes()


def test_beside_a_vector(musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path) -> None:
    steer = "vectors/tempo.safetensors:alpha=-2"
    both = musicsteer(*generate(bundle, "--steer", "presets/p.json", "--steer", steer, "--out", "a.wav"))
    assert both.code == 0, both.err
    first = f"vectors/tempo.safetensors{INLINE}:alpha=3"
    typed = musicsteer(*generate(bundle, "--steer", first, "--steer", steer, "--out", "b.wav"))
    assert typed.code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    record = json.loads((tmp_path / "a.json").read_text())
    assert [entry["alpha"] for entry in record["steering"]] == [3.0, -2.0]


def test_from_other_weights_warns_with_both_names(
    musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path
) -> None:
    recommended["model"] = {"name": "somebody's", "weights_sha256": "0" * 64}
    write(tmp_path, recommended)
    done = musicsteer(*generate(bundle, "--steer", "presets/p.json", "--out", "a.wav"))
    assert done.code == 0
    name = json.loads((tmp_path / "a.json").read_text())["model"]["name"]
    assert f"presets/p.json was found on other weights (somebody's) than this model's ({name})" in done.err


def refused(musicsteer: Runner, bundle: Path, tmp_path: Path, code: int, pattern: str, *more: str) -> None:
    done = musicsteer(*generate(bundle, "--steer", "presets/p.json", *more, "--out", "a.wav"))
    assert done.code == code, done.err
    assert len(done.err.splitlines()) == 1 and done.out == ""
    assert re.search(pattern, done.errors[0]), done.err
    assert not (tmp_path / "a.wav").exists()


def test_vector_file_that_is_missing_or_another(
    musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path
) -> None:
    vector_file = tmp_path / "vectors" / "tempo.safetensors"
    with safe_open(vector_file, "np") as opened:
        metadata = opened.metadata()
    tensors = {name: value * 2 for name, value in load_file(vector_file).items()}
    save_file(tensors, vector_file, metadata)
    another = r"presets/p\.json: vectors/tempo\.safetensors is not the vector file .*SHA-256"
    refused(musicsteer, bundle, tmp_path, 1, another)
    vector_file.unlink()
    refused(musicsteer, bundle, tmp_path, 1, r"presets/p\.json: vectors/tempo\.safetensors.*")


def test_bad_files(musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path) -> None:
    entry = recommended["steering"][0]
    write(tmp_path, {**recommended, "steering": [{**entry, "layers": [1, 9]}]})
    refused(musicsteer, bundle, tmp_path, 1, r"presets/p\.json: layers '1,9': the model has layers 0 to 2")
    write(tmp_path, {**recommended, "steering": [{**entry, "rows": "all"}]})
    refused(musicsteer, bundle, tmp_path, 1, r"presets/p\.json: steering\[0\]\.rows: unknown rows 'all'")
    (tmp_path / "presets" / "p.json").write_text("[]")
    refused(musicsteer, bundle, tmp_path, 1, r"presets/p\.json: expected an object, found a list")
    (tmp_path / "presets" / "p.json").unlink()
    refused(musicsteer, bundle, tmp_path, 1, r"presets/p\.json")


def test_what_is_typed_takes_the_place_of_the_files(
    musicsteer: Runner, bundle: Path, recommended: dict, tmp_path: Path
) -> None:
    written = recommended["steering"][0]
    beside = musicsteer(
        *generate(bundle, "--steer", "presets/p.json:layers=1", "--rows", "both", "--out", "b.wav")
    )
    assert beside.code == 0, beside.err
    record = json.loads((tmp_path / "b.json").read_text())["steering"][0]
    assert (record["layers"], record["rows"], record["alpha"]) == ([1], "both", written["alpha"])
    refused(musicsteer, bundle, tmp_path, 2, "finite", "--alpha", "nan")
    refused(musicsteer, bundle, tmp_path, 2, "--alpha: its value is empty", "--alpha", "")
    refused(
        musicsteer, bundle, tmp_path, 2, "with several vectors",
        "--steer", "vectors/tempo.safetensors", "--alpha", "1",
    )  # fmt: skip
    write(tmp_path, {**recommended, "steering": recommended["steering"] * 2})
    refused(musicsteer, bundle, tmp_path, 2, "2 vectors", "--alpha", "1")


def test_inspect_shows_it(musicsteer: Runner, recommended: dict) -> None:
    done = musicsteer("inspect", "presets/p.json")
    assert done.code == 0, done.err
    assert re.search(r"^alpha +3$", done.out, re.MULTILINE)
    assert re.search(r"^found to work +alpha 1 to 4$", done.out, re.MULTILINE)
    assert re.search(r"^vector file +vectors/tempo\.safetensors$", done.out, re.MULTILINE)
    assert re.search(r"^command +calibrate$", done.out, re.MULTILINE)
    shown = json.loads(musicsteer("inspect", "presets/p.json", "--json").out)
    assert shown["kind"] == "steering" and shown["model"] == recommended["model"]
    assert shown["steering"] == recommended["steering"]
    assert shown["evidence"] == recommended["evidence"]


def test_inspect_refuses_a_broken_one(musicsteer: Runner, recommended: dict, tmp_path: Path) -> None:
    write(tmp_path, {**recommended, "steering": []})
    done = musicsteer("inspect", "presets/p.json")
    assert done.code == 1 and "steering: expected at least one vector" in done.errors[0]
