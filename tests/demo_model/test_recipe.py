"""The recipe at toy size runs from end to end, and what it composes is what its captions say."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "scripts" / "demo_model"
sys.path.insert(0, str(RECIPE))

from captions import Captioner  # noqa: E402
from music import FRAMES, Song, arrange, draw_song, eighth_onsets  # noqa: E402
from synth import render  # noqa: E402


def song(**changes) -> Song:
    """An ordinary song."""
    values = dict(tempo=0.0, tempo_end=0.0, brightness=0.0, density=0.0, energy=0.0, mood="major")
    values |= dict(instrument="piano", drums=True, motif=0, progression=0, register=1)
    return Song(**(values | changes))


@pytest.mark.parametrize(("tempo", "bpm"), [(-1.0, 75.0), (0.0, 106.066), (1.0, 150.0)])
def test_tempo_is_what_was_asked_for(tempo, bpm):
    asked = song(tempo=tempo, tempo_end=tempo)
    arrange(asked)
    assert asked.tempo_bpm == pytest.approx(bpm, rel=0.015)


def test_onsets_are_never_more_than_half_a_frame_off():
    drawn = song(tempo=0.37, tempo_end=0.37)
    exact = 10 * 2 ** (-1.37 / 2)
    for index, onset in enumerate(eighth_onsets(drawn)):
        assert abs(onset - index * exact) <= 0.5 + 1e-9
    assert eighth_onsets(drawn)[-1] >= FRAMES


def test_brightness_moves_the_centroid_and_energy_the_level():
    def centroid(y):
        power = np.abs(np.fft.rfft(y))
        return (power * np.fft.rfftfreq(len(y), 1 / 16000)).sum() / power.sum()

    dark, bright = render(song(brightness=-1.0)), render(song(brightness=1.0))
    assert centroid(bright) > 2 * centroid(dark)
    quiet, loud = render(song(energy=-1.0)), render(song(energy=1.0))
    assert np.std(loud) > 1.6 * np.std(quiet)


def test_captions_never_name_the_opposite():
    captioner, rng = Captioner(), random.Random(3)
    words = captioner.lexicon
    for _ in range(3000):
        drawn = draw_song(rng)
        caption = captioner.caption(drawn, rng)
        tempo = (drawn.tempo + drawn.tempo_end) / 2
        if tempo > 0.6:
            assert not any(caption.startswith(word + " ") for word in words["tempo"]["slow"]), caption
        other = words["mood"]["minor" if drawn.mood == "major" else "major"]
        assert not any(word in caption.split() for word in other), caption


def test_smoke(tmp_path):
    environment = os.environ | {"PYTHON": sys.executable}
    command = [RECIPE / "smoke.sh", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert (tmp_path / "demo" / "model.safetensors").exists()
    log = (tmp_path / "lm" / "log.txt").read_text()
    assert "going on from latest.pt" in log
