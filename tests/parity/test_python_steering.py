"""musicsteer.steered, in transformers, makes the codes that `musicsteer generate` makes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from job import REPOSITORY
from safetensors.torch import load_file
from sides import Sides
from torch import Tensor

import musicsteer
from musicsteer.vectors import PROGRAM_ONLY

PROGRAM = Path(os.environ.get("MUSICSTEER", REPOSITORY / "build" / "musicsteer"))
PROMPT = "a calm piano melody with soft strings"
FRAMES = 40

SETTINGS: dict[str, dict[str, Any]] = {
    "per-layer": {},
    "other way": {"alpha": -2.0},
    "layers": {"layers": [0, 1]},
    "one-to-all": {"strategy": "one-to-all"},
    "one-to-all of a layer": {"strategy": "one-to-all", "source_layer": 1, "layers": [0, 1]},
    "single": {"strategy": "single", "layers": [1]},
    "single elsewhere": {"strategy": "single", "layers": [0], "source_layer": 1},
    "conditional": {"rows": "conditional"},
}


@pytest.fixture(scope="module")
def tempo(tiny: Sides, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vector file of the random checkpoint."""
    out = tmp_path_factory.mktemp("python-steering") / "tempo.safetensors"
    run(
        "extract",
        "--model",
        tiny.bundle,
        "--prompts",
        "tempo",
        "--limit",
        "2",
        "--duration",
        "0.1",
        "--out",
        out,
    )
    return out


def run(*arguments: str | Path) -> None:
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, capture_output=True)


def program_codes(sides: Sides, folder: Path, *steering: str | Path) -> Tensor:
    """Greedy codes [1, K, N]."""
    codes, seconds = folder / "codes.safetensors", str(FRAMES / sides.reference.frame_rate)
    clip = ["--prompt", PROMPT, "--duration", seconds, "--top-k", "1", "--threads", "1"]
    run(
        "generate",
        "--model",
        sides.bundle,
        *clip,
        *steering,
        "--out",
        folder / "a.wav",
        "--save-codes",
        codes,
    )
    return load_file(codes)["codes"]


def sound(sides: Sides, **options: Any) -> Tensor:
    """What `generate` of transformers makes of the prompt, [1, C, samples]."""
    inputs = sides.reference.tokenizer([PROMPT], padding=True, return_tensors="pt")
    return sides.reference.model.generate(
        **inputs, do_sample=False, max_new_tokens=FRAMES + max(sides.reference.delays), **options
    )


def flags_of(vectors: Path, settings: dict[str, Any]) -> list[str]:
    flags = ["--steer", str(vectors)]
    for key, value in ({"alpha": 1.5} | settings).items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        flags += [f"--{key.replace('_', '-')}", text]
    return flags


@pytest.mark.parametrize("name", SETTINGS)
def test_same_codes(tiny: Sides, tempo: Path, tmp_path: Path, name: str) -> None:
    settings = SETTINGS[name]
    codes = program_codes(tiny, tmp_path, *flags_of(tempo, settings))
    with musicsteer.steered(
        tiny.reference.model, musicsteer.load_vectors(tempo), **({"alpha": 1.5} | settings)
    ):
        steered = sound(tiny, guidance_scale=3.0)
    expected = tiny.reference.decode(codes)
    assert torch.allclose(steered, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    plain = sound(tiny, guidance_scale=3.0)
    assert not torch.allclose(plain, expected, rtol=0, atol=1e-2 * float(expected.abs().max()))


def test_two_vectors_add_up_and_nothing_is_left(tiny: Sides, tempo: Path) -> None:
    model, vectors = tiny.reference.model, musicsteer.load_vectors(tempo)
    before = sound(tiny)
    with musicsteer.steered(model, vectors, alpha=1.5), musicsteer.steered(model, vectors, alpha=-1.5):
        assert torch.allclose(sound(tiny), before, atol=1e-5)
    with pytest.raises(RuntimeError), musicsteer.steered(model, vectors, alpha=1.5):
        raise RuntimeError
    assert torch.equal(sound(tiny), before)


REFUSED = {
    "mode": ({"mode": "clamp"}, "mode is a setting of 'musicsteer generate' only"),
    "a word of nobody": ({"nonsense": 1}, "unknown setting nonsense: expected alpha, layers, strategy"),
    "layers as text": (
        {"layers": "0-2"},
        r"layers '0-2': expected a list of whole numbers, such as \[0",
    ),
    "a layer alone": ({"layers": 1}, "layers 1: expected a list of whole numbers"),
    "alpha as text": ({"alpha": "1"}, "alpha '1': expected a number"),
    "no alpha": ({"alpha": None}, "alpha None: expected a number"),
    "rows": ({"rows": "null"}, "rows 'null': expected both or conditional"),
    "strategy": ({"strategy": "best"}, "strategy 'best': expected per-layer"),
    "layer": ({"layers": [9]}, "layer 9: the model has layers 0 to 2"),
    "source": ({"source_layer": 1}, "source_layer needs strategy one-to-all or single"),
    "single": ({"strategy": "single", "layers": [0, 1]}, "steers one layer, but there are 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(tiny: Sides, tempo: Path, name: str) -> None:
    settings, message = REFUSED[name]
    vectors = musicsteer.load_vectors(tempo)
    with pytest.raises(ValueError, match=message):
        with musicsteer.steered(tiny.reference.model, vectors, **({"alpha": 1.0} | settings)):
            pass


def test_every_setting_of_the_program_is_known() -> None:
    rows = (REPOSITORY / "docs" / "settings.md").read_text("utf-8").splitlines()
    names = {row.split("`")[1].replace("-", "_") for row in rows if row.startswith("| `")}
    assert names == PROGRAM_ONLY | {"alpha", "strategy", "layers", "source_layer", "rows"}


def test_vectors_of_another_model_or_site(
    tiny: Sides, tiny_stereo: Sides, tempo: Path, tmp_path: Path
) -> None:
    vectors = musicsteer.load_vectors(tempo)
    with pytest.raises(ValueError, match="3 layers of 48, and this one has 2 of 64"):
        with musicsteer.steered(tiny_stereo.reference.model, vectors, alpha=1.0):
            pass
    heads = tmp_path / "heads.safetensors"
    extract = ["--prompts", "tempo", "--limit", "2", "--duration", "0.1", "--site", "self_attn_heads"]
    run("extract", "--model", tiny.bundle, *extract, "--out", heads)
    with pytest.raises(ValueError, match="has vectors of self_attn_heads; only resid_post"):
        musicsteer.load_vectors(heads)
    with pytest.raises(ValueError, match="cannot be read"):
        musicsteer.load_vectors(tmp_path / "nowhere.safetensors")
