"""`musicsteer study` end to end: its files, resuming after a kill, null vectors, bad input."""

from __future__ import annotations

import json
import os
import re
import resource
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
    """Arguments of a small study: 2 prompts, 8 seeds, 4 random vectors, clips of 20 frames."""
    flags = {
        "model": str(bundle),
        "steer": str(vector),
        "measure": "spectral_centroid_hz",
        "seeds": "0:8",
        "controls": "4",
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
    assert [len(ways) for ways in result["layers"]["random"]] == [3] * 4, "the same choice of layers"
    assert [len(ways) for ways in result["strategies"]["random"]] == [6] * 4
    assert len(result["strategies"]["ways"]) == 6
    assert result["verdict"]["over"] == "seeds" and result["verdict"]["effect"]["units"] == 4
    assert len(result["verdict"]["random_effects"]) == 4 and result["verdict"]["level"] == 0.05
    check_held_out(result)
    alphas = {point["alpha"] for point in result["confirm"]["ways"][0]["points"]}
    held_out = records(tmp_path / "whole" / "confirm")
    assert len(held_out) == 4 * (1 + len(alphas) + 4 * 2) == result["confirm"]["clips"]["made"]
    for ways in result["confirm"]["random"]:  # each in its own way, at its own strength
        assert len(ways) == 1 and len(ways[0]["points"]) == 2
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

    printed = musicsteer(*study(bundle, vectors), "--out", "whole").out
    assert max(map(len, printed.splitlines())) <= 100
    assert not re.search(r"\de-\d", printed), "numbers that nobody can read"
    assert "random, largest" in printed and " %" in printed

    other = musicsteer(*study(bundle, vectors, measure="rms"), "--out", "whole")
    assert other.code == 1 and "belongs to another study: measure" in other.errors[0]


def test_a_zero_vector_steers_nothing(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    zero = zero_vector(vectors, tmp_path / "zero.safetensors")
    done = musicsteer(*study(bundle, zero), "--out", "study")
    assert done.code == 0, done.err
    assert "no setting steers centroid" in done.out
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


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_clips_that_cannot_be_made_are_not_judged(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """What is left of a stage would be survivors; the study says so and goes on when there is room."""
    arguments = [*study(bundle, vectors), "--json", "--out", "study"]
    done = musicsteer(*arguments, preexec_fn=limit_file_size)
    assert done.code == 1, done.err
    assert "not judged" in done.errors[-1] or "too large" in done.errors[-1].lower(), done.err
    assert not (tmp_path / "study" / "steering.json").exists()
    again = musicsteer(*arguments)
    assert again.code == 0, again.err
    assert json.loads(again.out)["clips"]["failed"] == 0


def test_strengths_that_overflow_are_out_of_range(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """A layer whose push overflows is counted, and never chosen."""
    huge = tmp_path / "huge.safetensors"
    with safe_open(vectors, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    layers = json.loads(metadata["layers"])
    layers["decoder.1.resid_post"]["mean_residual_norm"] = 1e38  # so that it is pushed to infinity
    metadata["layers"] = json.dumps(layers)
    save_file(tensors, huge, metadata)
    done = musicsteer(*study(bundle, huge), "--json", "--out", "study")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    way = result["layers"]["ways"][1]
    assert way["layers"] == [1] and way["effect"]["value"] is None
    assert all(point["overflowed"] == point["clips"] and not point["usable"] for point in way["points"])
    assert result["layers"]["clips"]["overflowed"] >= 16 and result["clips"]["failed"] == 0
    assert [entry["layers"] for entry in result["strategies"]["ways"][:2]] != [[1], [1]]
    text = musicsteer(*study(bundle, huge), "--out", "study").out
    assert "clips overflowed" in text and "overflowed, 0 failed" in text


def test_a_path_that_is_no_utf8_is_refused_before_the_search(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"t\xe9mpo.safetensors")
    with open(odd, "wb") as file:
        file.write(vectors.read_bytes())
    done = musicsteer(*study(bundle, os.fsdecode(odd)), "--out", "study", errors="replace")
    assert done.code == 2 and "not UTF-8" in done.errors[0]
    assert not (tmp_path / "study").exists()


def test_a_prompt_that_is_given_twice_is_no_other_prompt(
    musicsteer: Runner, bundle: Path, vectors: Path
) -> None:
    done = musicsteer(*study(bundle, vectors), "--prompt", "piano", "--out", "study")
    assert done.code == 2 and "'piano' is given twice" in done.errors[0]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"measure": "tempo_bmp"}, 2, "did you mean 'tempo_bpm'"),
        ({"measure": "duration_s"}, 2, "unknown measure"),
        ({"seeds": "0:3"}, 2, "at least 8 seeds"),
        ({"max_kl": "0"}, 2, "KL cap"),
        ({"controls": "3"}, 2, "4 to 1000 random vectors"),
        ({"steer": "none.safetensors"}, 1, "none.safetensors"),
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
