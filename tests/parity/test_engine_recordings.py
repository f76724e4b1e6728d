"""`extract` from recordings against transformers: the codec's codes, and a teacher-forced pass over them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from comparison import BOUND
from job import BUILD, Request, Run
from safetensors.torch import load_file
from sides import Sides
from torch import Tensor

SECONDS = 0.3


def record(path: Path, sides: Sides, seed: int) -> Tensor:
    """A recording at the model's rate, as the model gets it: [1, C, N]."""
    rate = sides.reference.model.config.audio_encoder.sampling_rate
    time = np.arange(round(SECONDS * rate)) / rate
    rng = np.random.default_rng(seed)
    channels = sides.reference.channels
    waves = [0.3 * np.sin(2 * np.pi * (200 + 150 * seed) * (k + 1) * time) for k in range(channels)]
    samples = np.stack(waves, axis=1) + 0.05 * rng.normal(size=(len(time), channels))
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples.astype(np.float32), rate, subtype="FLOAT")
    return torch.from_numpy(samples.astype(np.float32)).T[None]


def expected_means(sides: Sides, samples: Tensor, caption: str | None, rows: str) -> dict[str, Tensor]:
    """Each hook point's mean over the positions of the clip and the rows that are read."""
    codes = sides.reference.encode(samples)
    request = Request(prompt=caption or "", unconditional=caption is None, forced_codes=codes[0])
    run = Run((request,), frames=codes.shape[-1], dump=("activations",))
    found = sides.reference.run(run)
    count = 2 if rows == "both" else 1
    wanted = [point for point in sides.reference.points() if point.endswith("resid_post")]
    return {point: found[point][:count, : codes.shape[-1]].flatten(0, 1).mean(0) for point in wanted}


def check(sides: Sides, folder: Path, caption: str | None, rows: str) -> None:
    names = [("p", 0), ("p", 1), ("n", 2), ("n", 3)]
    expected = {
        (side, seed): expected_means(sides, record(folder / side / f"{seed}.wav", sides, seed), caption, rows)
        for side, seed in names
    }
    arguments = [
        BUILD / "musicsteer", "extract", "--model", sides.bundle,
        "--positive-audio", "p", "--negative-audio", "n", "--rows", rows, "--duration", SECONDS,
        "--out", "v.safetensors", "--save-activations", "a.safetensors", "--threads", "1",
        *(["--caption", caption] if caption else []),
    ]  # fmt: skip
    cache = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, arguments)), cwd=folder, capture_output=True, text=True, env=cache)
    assert done.returncode == 0, done.stderr
    got = load_file(folder / "a.safetensors")
    for point in expected[names[0]]:
        for name, side in (("positive", "p"), ("negative", "n")):
            wanted = torch.stack([expected[key][point] for key in names if key[0] == side])
            error = (got[f"{name}.{point}"] - wanted).abs().max() / wanted.abs().max()
            assert error <= BOUND, (point, name, float(error))


@pytest.mark.parametrize(("caption", "rows"), [(None, "conditional"), ("fast piano", "both")])
def test_recordings_of_a_mono_model(tiny: Sides, tmp_path: Path, caption: str | None, rows: str) -> None:
    check(tiny, tmp_path, caption, rows)


def test_recordings_of_a_stereo_model(tiny_stereo: Sides, tmp_path: Path) -> None:
    check(tiny_stereo, tmp_path, None, "conditional")
