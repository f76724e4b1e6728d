"""Work that was begun in one precision is not finished in another, and results say which it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from program import ROOT, Runner
from safetensors import safe_open
from sweeps import SHORT, contents, grid, records

EXTRACT = ["extract", "--prompts", ROOT / "prompts" / "tempo.json", "--limit", "2", *SHORT]


@pytest.fixture(scope="session")
def other_precision(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle as one that says that its decoder is in bfloat16; the weights' hash stays."""
    folder = tmp_path_factory.mktemp("precision") / "bf16"
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["precision"]["decoder"] = "bf16"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def cut_in_half(folder: Path) -> None:
    runs = folder / "runs.jsonl"
    lines = runs.read_text().splitlines(keepends=True)
    runs.write_text("".join(lines[: len(lines) // 2]))


def test_a_sweep_goes_on_in_its_own_precision_only(
    musicsteer: Runner, bundle: Path, other_precision: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, alphas="1"), "--out", "runs").code == 0
    whole = contents(tmp_path / "runs")
    cut_in_half(tmp_path / "runs")
    begun = contents(tmp_path / "runs")
    resumed = musicsteer("sweep", "--model", other_precision, "--out", "runs")
    again = musicsteer(*grid(other_precision, vectors, alphas="1"), "--out", "runs")
    planned = musicsteer(
        "sweep", "--plan", "runs/plan.json", "--model", other_precision, "--out", "elsewhere"
    )
    for done in (resumed, again, planned):
        assert done.code == 1 and len(done.errors) == 1, done.err
        assert 'decoder was "f32" and is "bf16"' in done.errors[0]
    assert contents(tmp_path / "runs") == begun
    assert not (tmp_path / "elsewhere").exists()
    assert musicsteer("sweep", "--out", "runs").code == 0
    assert contents(tmp_path / "runs") == whole


def test_folders_of_different_precision_are_not_merged(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, alphas="1"), "--out", "one").code == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    plan = json.loads((tmp_path / "two" / "plan.json").read_text())
    plan["execution"]["precision"]["decoder"] = "int8"
    (tmp_path / "two" / "plan.json").write_text(json.dumps(plan))
    done = musicsteer("sweep", "--merge", "one", "two", "--out", "merged")
    assert done.code == 1 and 'execution.precision.decoder was "f32" and is "int8"' in done.errors[0]
    assert not (tmp_path / "merged").exists()


def test_a_study_goes_on_in_its_own_precision_only(
    musicsteer: Runner, bundle: Path, other_precision: Path, vectors: Path, tmp_path: Path
) -> None:
    study = [
        "--steer",
        vectors,
        "--measure",
        "rms",
        "--prompt",
        "piano",
        "--seeds",
        "0:8",
        "--duration",
        "0.05",
    ]
    study += ["--controls", "4", "--no-audio", "--threads", "1", "--max-kl", "0.5"]
    begun = musicsteer("study", "--model", bundle, *study, "--out", "study")
    assert begun.code == 0, begun.err
    done = musicsteer("study", "--model", other_precision, *study, "--out", "study")
    assert done.code == 1 and "precision differs" in done.errors[0]


def test_vectors_and_activations_say_which_precision_they_come_from(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    done = musicsteer(
        *EXTRACT, "--model", bundle, "--save-activations", "a.safetensors", "--out", "t.safetensors"
    )
    assert done.code == 0, done.err
    expected = json.loads((bundle / "manifest.json").read_text())["precision"]
    for name in ("t", "a"):
        with safe_open(tmp_path / f"{name}.safetensors", "np") as file:
            assert json.loads(file.metadata()["precision"]) == expected
    assert json.loads(musicsteer("inspect", "t.safetensors", "--json").out)["precision"] == expected
    assert musicsteer("vector", "scale", "t.safetensors", "--by", "2", "--out", "two.safetensors").code == 0
    assert json.loads(musicsteer("inspect", "two.safetensors", "--json").out)["precision"] == expected


def test_records_say_which_tempo_was_expected(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, alphas="1"), "--out", "plain").code == 0
    assert musicsteer(*grid(bundle, vectors, alphas="1", tempo_prior="106:0.5"), "--out", "narrow").code == 0
    assert {record["measures"]["tempo_prior"] for record in records(tmp_path / "plain")} == {"120.0:1.0"}
    assert {record["measures"]["tempo_prior"] for record in records(tmp_path / "narrow")} == {"106.0:0.5"}
