"""`musicsteer measure`: what it prints, in each form, and what it does about files that can't be measured."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import Runner

RATE_HZ = 22050
FIELDS = [
    "file",
    "tempo_bpm",
    "onset_rate_hz",
    "spectral_centroid_hz",
    "spectral_rolloff_hz",
    "spectral_bandwidth_hz",
    "spectral_flatness",
    "rms",
    "loudness_lufs",
    "true_peak_dbtp",
    "silence_share",
    "clipped_samples",
    "duration_s",
    "sample_rate_hz",
]


def tone(frequency_hz: float = 440.0, seconds: float = 3.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", tone(), RATE_HZ)
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    (tmp_path / "text.wav").write_text("la la la")
    return tmp_path


def test_json(musicsteer: Runner, clips: Path):
    done = musicsteer("measure", "tone.wav", "silence.wav", "--json")
    assert (done.code, done.err) == (0, "")
    sound, silence = json.loads(done.out)
    assert list(sound) == list(silence) == [*FIELDS, "tempo_prior"]
    assert (sound["file"], silence["file"]) == ("tone.wav", "silence.wav")
    assert sound["duration_s"] == 3.0 and sound["sample_rate_hz"] == RATE_HZ
    assert sound["spectral_centroid_hz"] == pytest.approx(440, rel=0.05)
    assert sound["rms"] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert sound["true_peak_dbtp"] == pytest.approx(-6.02, abs=0.1)
    assert sound["clipped_samples"] == 0 and isinstance(sound["clipped_samples"], int)
    undefined = {"tempo_bpm", "loudness_lufs", "true_peak_dbtp"}
    assert {name for name, value in silence.items() if value is None} == undefined
    assert silence["silence_share"] == 1.0


def test_csv_says_what_json_says(musicsteer: Runner, clips: Path):
    odd_name = 'a "quoted", name.wav'
    (clips / "tone.wav").rename(clips / odd_name)
    records = json.loads(musicsteer("measure", odd_name, "silence.wav", "--json").out)
    done = musicsteer("measure", odd_name, "silence.wav", "--csv")
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == FIELDS
    assert rows[0]["file"] == odd_name
    for record, row in zip(records, rows, strict=True):
        values = {name: None if text == "" else float(text) for name, text in row.items() if name != "file"}
        del record["file"], record["tempo_prior"]
        assert values == record


def test_table(musicsteer: Runner, clips: Path):
    done = musicsteer("measure", "tone.wav", "silence.wav")
    assert (done.code, done.err) == (0, "")
    heading, sound, silence = done.out.splitlines()
    assert heading.split()[:3] == ["seconds", "rate", "tempo"] and heading.split()[-1] == "file"
    assert len(heading.split()) == len(sound.split()) == len(silence.split()) == len(FIELDS)
    assert sound.split()[:2] == ["3.0", "22050"] and sound.split()[-1] == "tone.wav"
    assert silence.split()[2] == "-"
    assert heading.index("file") == sound.index("tone.wav") == silence.index("silence.wav")


def test_a_bad_file_does_not_stop_the_others(musicsteer: Runner, clips: Path):
    done = musicsteer("measure", "text.wav", "tone.wav", "missing.wav", "silence.wav", "--json")
    assert done.code == 1
    assert [record["file"] for record in json.loads(done.out)] == ["tone.wav", "silence.wav"]
    lines = done.err.splitlines()
    assert len(lines) == 2 and lines == done.errors
    assert "text.wav: cannot be read as audio" in lines[0]
    assert "missing.wav" in lines[1]


def write_header_only(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE_HZ)


def write_nan(path: Path) -> None:
    soundfile.write(path, np.array([0.1, np.nan, 0.2]), RATE_HZ, subtype="FLOAT")


def write_slow(path: Path) -> None:
    soundfile.write(path, np.zeros(40), 8)


BAD_FILES = {
    "missing": (lambda path: None, "bad.wav: "),
    "folder": (Path.mkdir, "bad.wav: "),
    "text": (lambda path: path.write_text("la la la"), "cannot be read as audio"),
    "nothing in it": (Path.touch, "bad.wav: "),
    "header only": (write_header_only, "bad.wav: holds no samples: there is nothing to measure"),
    "not finite": (write_nan, "bad.wav: holds samples that are not finite"),
    "8 samples a second": (write_slow, "bad.wav: loudness can be measured at sample rates from 16"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=["table", "json", "csv"])
def test_a_single_bad_file(musicsteer: Runner, tmp_path: Path, name: str, form: list[str]):
    make, message = BAD_FILES[name]
    make(tmp_path / "bad.wav")
    done = musicsteer("measure", "bad.wav", *form)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1 and len(done.errors) == 1
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "files"), (["tone.wav", "--json", "--csv"], "--csv"), (["tone.wav", "--loud"], "--loud")],
)
def test_wrong_usage(musicsteer: Runner, clips: Path, arguments: list[str], message: str):
    done = musicsteer("measure", *arguments)
    assert (done.code, done.out) == (2, "")
    assert len(done.errors) == 1 and message in done.err


@pytest.mark.parametrize(
    ("suffix", "subtype"), [(".flac", "PCM_24"), (".ogg", "VORBIS"), (".aiff", "PCM_16")]
)
def test_other_formats(musicsteer: Runner, tmp_path: Path, suffix: str, subtype: str):
    soundfile.write(tmp_path / f"tone{suffix}", np.stack([tone(), tone()], axis=1), RATE_HZ, subtype=subtype)
    (record,) = json.loads(musicsteer("measure", f"tone{suffix}", "--json").out)
    assert record["duration_s"] == pytest.approx(3.0, abs=0.01)
    assert record["spectral_centroid_hz"] == pytest.approx(440, rel=0.1)


def test_many_channels_and_clipped_samples(musicsteer: Runner, tmp_path: Path):
    samples = np.full((RATE_HZ, 6), 0.25)
    samples[100:110, 2] = 1.0
    samples[200, 5] = -1.0
    soundfile.write(tmp_path / "six.wav", samples, RATE_HZ)
    (record,) = json.loads(musicsteer("measure", "six.wav", "--json").out)
    assert record["clipped_samples"] == 11


def test_the_same_file_gives_the_same_bytes(musicsteer: Runner, clips: Path):
    assert musicsteer("measure", "tone.wav", "--json").out == musicsteer("measure", "tone.wav", "--json").out


def test_help_has_examples(musicsteer: Runner):
    done = musicsteer("measure", "--help")
    assert done.code == 0
    assert "musicsteer measure fast.wav slow.wav" in done.out and "--csv" in done.out
