"""`musicsteer study` end to end: its files, going on after a kill, null vectors, bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from program import PROGRAM, Runner, environment
from safetensors import safe_open
from safetensors.torch import save_file
from sweeps import contents, records


def study(bundle: Path, vector: Path | str, /, **changes: str) -> list[str]:
    """Arguments of a small study: 2 prompts, 8 seeds, 2 random vectors, clips of 20 frames."""
    flags = {
        "model": str(bundle),
        "vector": str(vector),
        "measure": "spectral_centroid_hz",
        "seeds": "0:8",
        "controls": "2",
        "duration": "0.05",
        "threads": "1",
        "max-kl": "0.5",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    arguments = ["study", "--prompt", "piano", "--prompt", "organ", "--no-audio"]
    for name, value in flags.items():
        arguments += [f"--{name}", value]
    return arguments


def zero_vector(source: Path, target: Path) -> Path:
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: torch.zeros_like(file.get_tensor(name)) for name in file.keys()}
    layers = json.loads(metadata["layers"])
    for entry in layers.values():
        entry["norm"] = entry["effect_size"] = 0.0
    metadata["layers"] = json.dumps(layers)
    save_file(tensors, target, metadata)
    return target


def check_held_out(result: dict[str, Any]) -> None:
    """The clips of the verdict had no part in any choice."""
    for stage in ("layers", "strategies", "strength"):
        assert not set(result[stage]["seeds"]) & set(result["confirm"]["seeds"])
        assert not set(result[stage]["prompts"]) & set(result["confirm"]["prompts"])


def test_a_study_and_the_same_after_kills(
    musicsteer: Runner, bundle: Path, vectors: Path, cache: Path, tmp_path: Path
) -> None:
    done = musicsteer(*study(bundle, vectors), "--json", "--out", "whole")
    assert (done.code, done.errors) == (0, []), done.err
    result = json.loads(done.out)
    assert result == json.loads((tmp_path / "whole" / "study.json").read_text())
    assert [way["layers"] for way in result["layers"]["ways"]] == [[0], [1], [2]]
    assert all(len(way["random"]) == 1 and way["slope"]["seeds"] == 4 for way in result["layers"]["ways"])
    assert len(result["strategies"]["ways"]) == 7
    if "confirm" in result:
        check_held_out(result)
        assert len(result["verdict"]["random_slopes"]) == 2
        alphas = {point["alpha"] for point in result["confirm"]["ways"][0]["points"]}
        assert len(records(tmp_path / "whole" / "confirm")) == 4 * (1 + 3 * len(alphas))
    assert result["steers"] == (tmp_path / "whole" / "steering.json").exists()
    assert result["steers"] == (result["recommendation"] is not None)
    assert all(record["kl_nats"] >= 0 for record in records(tmp_path / "whole" / "layers"))
    expected = contents(tmp_path / "whole")

    killed = 0
    for seconds in (1.0, 2.0, 3.0, 4.0):
        process = subprocess.Popen(
            [PROGRAM, *study(bundle, vectors), "--out", "killed"],
            cwd=tmp_path, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed > 0
    assert musicsteer(*study(bundle, vectors), "--out", "killed").code == 0
    found = contents(tmp_path / "killed")
    assert found.keys() == expected.keys()
    for name, content in expected.items():  # presets and tables name no folder; records name the controls
        assert found[name].replace(b"killed/random", b"whole/random") == content, name

    other = musicsteer(*study(bundle, vectors, measure="rms"), "--out", "whole")
    assert other.code == 1 and "belongs to another study: measure" in other.errors[0]


def test_a_zero_vector_steers_nothing(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    zero = zero_vector(vectors, tmp_path / "zero.safetensors")
    done = musicsteer(*study(bundle, zero), "--out", "study")
    assert done.code == 0, done.err
    assert "no setting steers spectral_centroid_hz" in done.out
    assert not (tmp_path / "study" / "steering.json").exists()
    assert json.loads((tmp_path / "study" / "study.json").read_text())["steers"] is False


def test_controls_are_random_and_as_long(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    zero = zero_vector(vectors, tmp_path / "zero.safetensors")
    assert (
        musicsteer(*study(bundle, zero), "--out", "zero").code == 0
    )  # controls are as long as the vector: 0
    process = subprocess.Popen(
        [PROGRAM, *study(bundle, vectors), "--out", tmp_path / "study"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "study" / "random" / "1.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    with safe_open(vectors, "pt") as original, \
            safe_open(tmp_path / "study" / "random" / "0.safetensors", "pt") as first, \
            safe_open(tmp_path / "study" / "random" / "1.safetensors", "pt") as second:  # fmt: skip
        assert first.metadata()["method"] == "random" and first.metadata()["seed"] == "0"
        for name in original.keys():
            vector, a, b = (file.get_tensor(name).double() for file in (original, first, second))
            assert a.norm().item() == pytest.approx(vector.norm().item(), rel=1e-5)
            for one, other in ((vector, a), (vector, b), (a, b)):
                cosine = torch.dot(one, other) / (one.norm() * other.norm())
                assert abs(cosine.item()) < 0.6  # 48 dimensions: 0.14 is one standard deviation


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"measure": "tempo_bmp"}, 2, "did you mean 'tempo_bpm'"),
        ({"measure": "duration_s"}, 2, "unknown measure"),
        ({"seeds": "0:3"}, 2, "at least 8 seeds"),
        ({"max_kl": "0"}, 2, "KL cap"),
        ({"controls": "1"}, 2, "random vectors"),
        ({"vector": "none.safetensors"}, 1, "none.safetensors"),
    ],
)
def test_refuses(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, changes: dict, code: int, words: str
) -> None:
    done = musicsteer(*study(bundle, vectors, **changes), "--out", "study")
    assert done.code == code and len(done.errors) == 1 and words in done.errors[0], done.err
    assert not (tmp_path / "study").exists()


def test_leaves_foreign_folders_alone(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.txt").write_text("la")
    done = musicsteer(*study(bundle, vectors), "--out", "mine")
    assert done.code == 1 and "holds 'song.txt'" in done.errors[0]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["song.txt"]
