"""`extract --like` on the demo model: recordings of bright songs give its brightness direction."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "demo_model"))

from music import SAMPLE_RATE_HZ, draw_song  # noqa: E402
from synth import render  # noqa: E402

PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
SONGS = 16
SECONDS = 4


def record_songs(folder: Path, sign: int) -> None:
    """Songs of the kind that the model was trained on, the brighter third (+1) or the darker one (-1)."""
    folder.mkdir()
    rng = random.Random(sign)
    found = 0
    while found < SONGS:
        song = draw_song(rng)
        if sign * song.brightness > 1 / 3:
            sound = render(song)[: SECONDS * SAMPLE_RATE_HZ]
            soundfile.write(folder / f"{found}.wav", sound, SAMPLE_RATE_HZ)
            found += 1


@pytest.fixture(scope="module")
def cosines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Of the vectors like bright and like dark songs with the model's brightness direction, by layer."""
    folder = tmp_path_factory.mktemp("like")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}

    def run(*arguments: object) -> None:
        done = subprocess.run(
            list(map(str, arguments)), cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    run(sys.executable, "-m", "musicsteer.export_model", ROOT / "models" / "demo", folder / "bundle")
    known = load_file(ROOT / "models" / "demo" / "directions" / "brightness.safetensors")
    found = {}
    for name, sign in (("bright", 1), ("dark", -1)):
        record_songs(folder / name, sign)
        run(
            PROGRAM, "extract", "--model", "bundle", "--like", name, "--duration", SECONDS, "--threads", "1",
            "--prompts", "neutral", "--limit", "24", "--seed", "1000", "--out", f"{name}.safetensors",
        )  # fmt: skip
        vectors = load_file(folder / f"{name}.safetensors")
        assert set(vectors) == set(known)
        found[name] = np.array(
            [
                vectors[point] @ known[point] / np.linalg.norm(vectors[point]) / np.linalg.norm(known[point])
                for point in sorted(known)
            ]
        )
    return found


def test_bright_songs_point_to_brightness(cosines: dict[str, np.ndarray]) -> None:
    """Unrelated directions of this width have cosines of 0.06 (1 / sqrt(256)) at random."""
    assert cosines["bright"].min() > 0.2, cosines


def test_dark_songs_point_the_other_way(cosines: dict[str, np.ndarray]) -> None:
    assert cosines["dark"].max() < -0.2, cosines
