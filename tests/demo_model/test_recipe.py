"""The recipe at toy size runs from end to end, and what it composes is what its captions say."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "scripts" / "demo_model"
sys.path.insert(0, str(RECIPE))

import librosa  # noqa: E402
from captions import Captioner  # noqa: E402
from codec import FastEncoder, build_codec, encode_clips  # noqa: E402
from music import FRAMES, HOP, Song, arrange, beat_frames, draw_song, eighth_onsets  # noqa: E402
from rvq import fit_codebooks  # noqa: E402
from synth import BRIGHT_HZ, DARK_HZ, render  # noqa: E402


def song(**changes) -> Song:
    """An ordinary song."""
    values = dict(tempo=0.0, tempo_end=0.0, brightness=0.0, density=0.0, energy=0.0, mood="major")
    values |= dict(instrument="piano", drums=True, motif=0, progression=0, register=1)
    return Song(**(values | changes))


@pytest.mark.parametrize(("tempo", "bpm"), [(-1.0, 66.0), (0.0, 104.04), (1.0, 164.0)])
def test_tempo_is_what_was_asked_for(tempo, bpm):
    asked = song(tempo=tempo, tempo_end=tempo)
    arrange(asked)
    assert asked.tempo_bpm == pytest.approx(bpm, rel=0.03)


def test_beats_are_never_more_than_half_a_frame_off():
    drawn = song(tempo=0.37, tempo_end=0.37)
    beats = eighth_onsets(drawn)[::2]
    for index, onset in enumerate(beats):
        assert abs(onset - index * beat_frames(0.37)) <= 0.5 + 1e-9
    assert beats[-1] >= FRAMES


def test_beats_keep_away_from_half_frames():
    for step in range(201):
        frames = beat_frames(step / 100 - 1)
        assert abs(frames - round(frames)) <= 0.25 + 1e-9


def test_librosa_hears_the_tempo_with_its_own_prior():
    rng, right = random.Random(4), []
    while len(right) < 80:
        drawn = draw_song(rng)
        drawn.tempo_end, drawn.ending_bar = drawn.tempo, 0
        y = render(drawn)[: FRAMES // 2 * HOP]
        onsets = librosa.onset.onset_strength(y=y, sr=16000, hop_length=256)
        found = librosa.feature.tempo(onset_envelope=onsets, sr=16000, hop_length=256)[0]
        right.append(abs(found / drawn.tempo_bpm - 1) < 0.04)
    assert np.mean(right) >= 0.95  # of 400 songs it was 0.99


@pytest.mark.parametrize("wanted", [-0.8, 0.0, 0.8])
def test_brightness_is_the_centroid_whatever_is_played(wanted):
    aim_hz = DARK_HZ * (BRIGHT_HZ / DARK_HZ) ** ((wanted + 1) / 2)
    for other in (dict(drums=False, instrument="bells"), dict(tempo=0.9, tempo_end=0.9), dict(density=1.0)):
        y = render(song(brightness=wanted, **other))
        found = librosa.feature.spectral_centroid(y=y, sr=16000).mean()
        assert found == pytest.approx(aim_hz, rel=0.18)  # librosa has longer windows


def test_energy_moves_the_level():
    quiet, loud = render(song(energy=-1.0)), render(song(energy=1.0))
    assert np.std(loud) > 1.6 * np.std(quiet)


def test_an_ending_rings_out_and_other_clips_go_on():
    ends, goes_on = render(song(ending_bar=2)), render(song())
    last = slice(-25 * HOP, None)
    assert np.abs(ends[last]).max() < 1e-3 < np.std(goes_on[last])
    chord = eighth_onsets(song())[2 * 8]
    assert np.std(ends[chord * HOP : (chord + 10) * HOP]) > 0.02


def test_an_intro_is_a_bar_without_lead_and_drums():
    drawn = song(intro=True)
    bar = eighth_onsets(drawn)[8]
    voices = {note.voice for note in arrange(drawn) if note.start < bar}
    assert voices == {"bass", "pad"}
    assert {"kick", "piano"} <= {note.voice for note in arrange(drawn)}


def test_endings_are_drawn_with_room_to_ring():
    rng = random.Random(1)
    drawn = [draw_song(rng) for _ in range(400)]
    for one in drawn:
        if one.ending_bar:
            assert eighth_onsets(one)[(one.ending_bar + 1) * 8] <= FRAMES
    assert 0.15 < np.mean([one.ending_bar > 0 for one in drawn]) < 0.3


def test_tempo_and_brightness_are_independent():
    rng = random.Random(2)
    drawn = [draw_song(rng) for _ in range(300)]
    for one in drawn:
        render(one)
    tempo, brightness = (np.array([getattr(one, name) for one in drawn]) for name in ("tempo", "brightness"))
    assert (
        abs(np.corrcoef(tempo, brightness)[0, 1]) < 0.15
    )  # two standard errors and a half of no correlation


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
        wrong = words["form"]["going_on" if drawn.ending_bar else "ending"]
        assert not any(phrase in caption for phrase in wrong), caption
        assert drawn.intro or not any(phrase in caption for phrase in words["form"]["intro"]), caption


def test_pieces_give_the_codes_of_the_whole():
    torch.manual_seed(0)
    codec = build_codec(2, 64, 4, 16).eval()
    samples = 0.1 * torch.randn(FRAMES * HOP)
    with torch.no_grad():
        fit_codebooks(codec, codec.encoder(samples[None, None])[0].T, iterations=2)
    whole = encode_clips(codec, samples[None])[0]
    assert (FastEncoder(codec).encode(samples) != whole).float().mean() < 0.002  # ties


def test_smoke(tmp_path):
    environment = os.environ | {"PYTHON": sys.executable}
    command = [RECIPE / "smoke.sh", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert (tmp_path / "demo" / "model.safetensors").exists()
    log = (tmp_path / "lm" / "log.txt").read_text()
    assert "going on from latest.pt" in log
