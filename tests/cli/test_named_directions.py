"""Directions that a bundle has: `--steer NAME` in each command, and what `inspect` says of them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from program import ROOT, Runner

SHORT = ["--duration", "0.1", "--threads", "1"]
SETTINGS = {"strategy": "one-to-all", "source_layer": 1, "layers": "1-2", "rows": "conditional"}
INLINE = ":strategy=one-to-all:source-layer=1:layers=1-2:rows=conditional"
ENDS = [{"alpha": -2.0, "change": -0.25}, {"alpha": 3.0, "change": 0.5}]


def direction(**changes: object) -> dict:
    entry = {"file": "tempo.safetensors", **SETTINGS, "alpha": 3.0, "alpha_range": [-2.0, 3.0], **changes}
    return {"steering": [entry], "evidence": {"measure": "onsets", "clips": 8, "ends": ENDS}}


@pytest.fixture
def own(bundle: Path, vectors: Path, tmp_path: Path) -> Path:
    """The small bundle with a direction of its own, tempo, and vectors/tempo.safetensors beside."""
    own = Path(shutil.copytree(bundle, tmp_path / "own"))
    (own / "directions").mkdir()
    shutil.copy(vectors, own / "directions" / "tempo.safetensors")
    shutil.copy(vectors, tmp_path / "v.safetensors")
    (own / "directions" / "tempo.json").write_text(json.dumps(direction()))
    return own


def generate(own: Path, *arguments: str) -> list[str | Path]:
    return ["generate", "--model", own, "--prompt", "piano", *SHORT, *arguments]


def test_a_name_stands_for_vector_and_settings(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    named = musicsteer(*generate(own, "--steer", "tempo", "--out", "a.wav"))
    assert named.code == 0, named.err
    typed = musicsteer(*generate(own, "--steer", f"v.safetensors{INLINE}:alpha=3", "--out", "b.wav"))
    assert typed.code == 0, typed.err
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    weaker = musicsteer(*generate(own, "--steer", "tempo:alpha=0.2:rows=both", "--out", "c.wav"))
    assert weaker.code == 0, weaker.err
    entry = json.loads((tmp_path / "c.json").read_text())["steering"][0]
    assert (entry["alpha"], entry["rows"], entry["layers"]) == (0.2, "both", [1, 2])


def test_an_unknown_name_lists_those_there_are(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    unknown = musicsteer(*generate(own, "--steer", "tempoo", "--out", "a.wav"))
    assert unknown.code == 1 and len(unknown.err.splitlines()) == 1
    assert "tempoo: there is no such file" in unknown.err and "are tempo, did you mean" in unknown.err


def test_a_path_that_exists_wins(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    (tmp_path / "tempo").write_text("not a vector file")
    wins = musicsteer(*generate(own, "--steer", "tempo", "--out", "d.wav"))
    assert wins.code == 1 and "tempo: " in wins.errors[0]


def test_without_a_default_strength(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    content = direction()
    del content["steering"][0]["alpha"]
    (own / "directions" / "tempo.json").write_text(json.dumps(content))
    refused = musicsteer(*generate(own, "--steer", "tempo", "--out", "a.wav"))
    assert refused.code == 2 and "tempo: this direction has no default strength" in refused.err
    given = musicsteer(*generate(own, "--steer", "tempo:alpha=1", "--out", "a.wav"))
    assert given.code == 0, given.err


def test_one_that_changed_after_the_export_is_refused(musicsteer: Runner, own: Path) -> None:
    path, manifest = own / "directions" / "tempo.json", own / "manifest.json"
    record = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    content = json.loads(manifest.read_text()) | {"directions": {"tempo.json": record}}
    manifest.write_text(json.dumps(content))
    done = musicsteer(*generate(own, "--steer", "tempo", "--out", "a.wav"))
    assert done.code == 0, done.err
    path.write_text(path.read_text().replace("3.0", "2.0"))
    refused = musicsteer(*generate(own, "--steer", "tempo", "--out", "b.wav"))
    assert refused.code == 1 and "directions/tempo.json: expected SHA-256" in refused.err


def test_from_other_weights_warns(musicsteer: Runner, own: Path) -> None:
    other = {**direction(), "model": {"name": "somebody's", "weights_sha256": "0" * 64}}
    (own / "directions" / "tempo.json").write_text(json.dumps(other))
    done = musicsteer(*generate(own, "--steer", "tempo", "--out", "a.wav"))
    assert done.code == 0 and "was found on other weights (somebody's)" in done.err


def steering_of(folder: Path) -> list[dict]:
    return json.loads((folder / "plan.json").read_text())["steering"]


def test_sweep_has_its_settings_as_defaults(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    base = ["sweep", "--model", own, "--prompt", "piano", *SHORT, "--no-audio", "--steer", "tempo"]
    done = musicsteer(*base, "--out", "one")
    assert done.code == 0, done.err
    [way] = steering_of(tmp_path / "one")
    assert (way["alphas"], way["layers"], way["rows"]) == ([3.0], [1, 2], "conditional")
    flags = ["--alphas", "-1:1:1", "--rows", "both"]
    done = musicsteer(*base, *flags, "--out", "two")
    assert done.code == 0, done.err
    [way] = steering_of(tmp_path / "two")
    assert (way["alphas"], way["layers"], way["rows"]) == ([-1.0, 0.0, 1.0], [1, 2], "both")
    base[-1] = "tempo:alpha=2:rows=conditional"
    done = musicsteer(*base, *flags, "--out", "three")
    assert done.code == 0, done.err
    [way] = steering_of(tmp_path / "three")
    assert (way["alphas"], way["rows"]) == ([2.0], "conditional")


def test_study_takes_the_vector_alone(musicsteer: Runner, own: Path, tmp_path: Path) -> None:
    base = ["study", "--model", own, "--prompt", "piano", "--measure", "rms", "--out", "s"]
    typed = musicsteer(*base, "--steer", "tempo:alpha=1")
    assert typed.code == 2 and "a study finds the settings itself" in typed.err
    unknown = musicsteer(*base, "--steer", "temp")
    assert unknown.code == 1 and "are tempo, did you mean" in unknown.err


def test_inspect_lists_them(musicsteer: Runner, own: Path) -> None:
    shown = musicsteer("inspect", own)
    assert shown.code == 0, shown.err
    line = re.search(r"^--steer tempo +(.*)$", shown.out, re.MULTILINE)
    assert line and line[1] == (
        "alpha -2 to 3, by default 3; strategy one-to-all; layers 1,2; source-layer 1; rows conditional; "
        "onsets -25 % at -2, +50 % at 3"
    )
    as_json = json.loads(musicsteer("inspect", own, "--json").out)["directions"]["tempo"]
    assert as_json["steering"]["alpha_range"] == [-2.0, 3.0]
    assert as_json["evidence"]["ends"] == ENDS


def test_the_demo_models_own(musicsteer: Runner) -> None:
    """Whatever weights they belong to: readable, with a range about 0 and what both ends did."""
    folder = ROOT / "models" / "demo" / "directions"
    concepts = json.loads((ROOT / "models" / "demo" / "steering.json").read_text())["concepts"]
    for name, settings in concepts.items():
        shown = json.loads(musicsteer("inspect", folder / f"{name}.json", "--json").out)
        [entry] = shown["steering"]
        assert entry["alpha_range"] == [min(settings["alphas"]), max(settings["alphas"])]
        assert entry["alpha_range"][0] < 0 < entry["alpha"] == entry["alpha_range"][1]
        assert [end["alpha"] for end in shown["evidence"]["ends"]] == entry["alpha_range"]
        vectors = json.loads(musicsteer("inspect", folder / entry["file"], "--json").out)
        assert vectors["sha256"] == entry["sha256"]
        assert vectors["weights_sha256"] == shown["model"]["weights_sha256"]
