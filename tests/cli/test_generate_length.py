"""`musicsteer generate`: clips of any length, continued, streamed, interrupted, in sections."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import PROGRAM, Runner, environment
from safetensors.numpy import load_file, save_file

WINDOW_S = 0.1  # 40 frames of 40 samples
ONE = ["--threads", "1"]


@pytest.fixture(scope="module")
def short(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as one that was trained on clips of 0.1 s."""
    target = tmp_path_factory.mktemp("short") / "bundle"
    shutil.copytree(bundle, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"window_s": WINDOW_S}))
    return target


def generate(musicsteer: Runner, model: Path, out: str, duration: float, *more: str | Path) -> None:
    clip = ["--prompt", "fast piano", "--duration", str(duration), "--out", out]
    done = musicsteer("generate", "--model", model, *clip, *ONE, *more)
    assert (done.code, done.errors) == (0, []), done.err


def record(folder: Path, name: str) -> dict[str, object]:
    return json.loads((folder / f"{name}.json").read_text())


def codes(folder: Path, name: str) -> np.ndarray:
    return load_file(folder / name)["codes"]


def test_any_length_is_one_clip(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    """110 frames: windows at 0, 24, 48 and 72."""
    generate(musicsteer, short, "long.wav", 0.275, "--save-codes", "long.safetensors")
    generate(musicsteer, short, "window.wav", WINDOW_S, "--save-codes", "window.safetensors")
    assert soundfile.info(tmp_path / "long.wav").frames == 110 * 40
    assert record(tmp_path, "long")["windows"] == {"frames": 40, "stride": 24}
    assert "windows" not in record(tmp_path, "window")
    whole, first = codes(tmp_path, "long.safetensors"), codes(tmp_path, "window.safetensors")
    assert whole.shape == (1, 4, 110) and (whole[:, :, :37] == first[:, :, :37]).all()
    generate(musicsteer, short, "half.wav", 0.275, "--save-codes", "half.safetensors", "--stride", "0.05")
    assert record(tmp_path, "half")["windows"] == {"frames": 40, "stride": 20}
    half = codes(tmp_path, "half.safetensors")
    assert (half[:, :, :40] == whole[:, :, :40]).all() and (half != whole).any()


def test_a_stride_that_does_nothing_or_too_much(musicsteer: Runner, short: Path) -> None:
    call = ["generate", "--model", short, "--prompt", "x", "--out", "clip.wav"]
    done = musicsteer(*call, "--duration", "0.1", "--stride", "0.05")
    assert done.code == 2 and "--stride has no effect: the clip fits the model's window of 0.1 s" in done.err
    done = musicsteer(*call, "--duration", "0.2", "--stride", "0.1")
    assert done.code == 2 and "shorter than the model's window of 0.1 s" in done.err


def test_codes_are_continued(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    """Cut at 0.15 s, the clip's own codes continue with the same noise; the audio begins alike."""
    generate(musicsteer, short, "a.wav", 0.3, "--save-codes", "a.safetensors")
    more = ["--continue", "a.safetensors", "--continue-from", "0.15s", "--save-codes", "b.safetensors"]
    generate(musicsteer, short, "b.wav", 0.4, *more)
    old, new = codes(tmp_path, "a.safetensors"), codes(tmp_path, "b.safetensors")
    assert new.shape == (1, 4, 160) and (new[:, :, :60] == old[:, :, :60]).all()
    a, b = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("a.wav", "b.wav"))
    assert (a[: 50 * 40] == b[: 50 * 40]).all()
    digest = subprocess.run(["sha256sum", tmp_path / "a.safetensors"], capture_output=True, check=True).stdout
    assert record(tmp_path, "b")["continued"] == {
        "file": "a.safetensors",
        "sha256": digest.decode().split()[0],
        "frames": 60,
    }


def test_a_recording_is_continued(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    """A recording at another rate, in stereo; several prompts and seeds continue it."""
    noise = np.random.default_rng(0).normal(0, 0.1, (4800, 2))
    soundfile.write(tmp_path / "take.flac", noise, 48000)
    more = [
        "--prompt",
        "slow organ",
        "--seeds",
        "1,2",
        "--continue",
        "take.flac",
        "--save-codes",
        "c.safetensors",
    ]
    generate(musicsteer, short, "clips", 0.2, *more)
    made = codes(tmp_path, "c.safetensors")
    assert made.shape == (4, 4, 80)
    assert (made[:, :, :40] == made[:1, :, :40]).all() and (made[0, :, 40:] != made[1, :, 40:]).any()
    lines = (tmp_path / "clips" / "clips.jsonl").read_text().splitlines()
    assert [json.loads(line)["continued"]["frames"] for line in lines] == [40] * 4
    generate(
        musicsteer,
        short,
        "again",
        0.3,
        *more[:4],
        "--continue",
        "c.safetensors",
        "--save-codes",
        "d.safetensors",
    )
    assert (codes(tmp_path, "d.safetensors")[:, :, :80] == made).all(), "each clip continues its own codes"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--continue-from", "4s"], "--continue-from needs a --continue FILE"),
        (
            ["--continue", "take.wav", "--continue-from", "soon"],
            "expected a time in seconds above 0, such as 4s",
        ),
        (["--continue", "take.wav", "--continue-from", "4s"], "it ends at 0.1 s, before --continue-from"),
        (["--continue", "take.wav", "--duration", "0.1"], "leaves nothing to add"),
        (["--continue", "missing.wav"], "missing.wav: cannot be read: No such file"),
        (["--continue", "text.wav"], "text.wav: cannot be read as audio"),
        (["--continue", "two.safetensors"], "it has the codes of 2 clips, and this call makes 1"),
        (["--continue", "narrow.safetensors"], "its codes have 3 codebooks, the model's 4"),
        (["--continue", "empty.safetensors"], "expected codes [clips, K, frames]"),
    ],
)
def test_what_cannot_be_continued(
    musicsteer: Runner, short: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    soundfile.write(tmp_path / "take.wav", np.zeros(1600) + 0.1, 16000)
    (tmp_path / "text.wav").write_text("no audio")
    save_file({"codes": np.zeros((2, 4, 9), np.int64)}, tmp_path / "two.safetensors")
    save_file({"codes": np.zeros((1, 3, 9), np.int64)}, tmp_path / "narrow.safetensors")
    save_file({"other": np.zeros(1, np.int64)}, tmp_path / "empty.safetensors")
    call = ["generate", "--model", short, "--prompt", "x", "--out", "clip.wav", *ONE]
    done = musicsteer(*call, *([] if "--duration" in arguments else ["--duration", "0.2"]), *arguments)
    assert done.code in (1, 2) and len(done.errors) == 1 and reason in done.err, done.err
    assert not (tmp_path / "clip.wav").exists()


def test_scores_count_what_is_new(musicsteer: Runner, short: Path, vectors: Path, tmp_path: Path) -> None:
    steer = ["--steer", vectors, "--alpha", "2", "--score"]
    generate(musicsteer, short, "long.wav", 0.275, *steer, "--save-codes", "long.safetensors")
    kl = record(tmp_path, "long")["kl_nats"]
    assert isinstance(kl, float) and kl > 0
    window = ["--steer", f"{vectors}:alpha=2:schedule=window,0,0.1", "--score"]
    generate(
        musicsteer,
        short,
        "on.wav",
        0.275,
        *window,
        "--continue",
        "long.safetensors",
        "--continue-from",
        "0.2s",
    )
    assert record(tmp_path, "on")["kl_nats"] == pytest.approx(0, abs=1e-7), "what was steered was given"


def stream(model: Path, cache: Path, *more: str) -> subprocess.Popen[bytes]:
    call = [PROGRAM, "generate", "--model", model, "--prompt", "fast piano", "--out", "-", *ONE, *more]
    return subprocess.Popen(
        [str(part) for part in call], env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("name", ["pcm16", "float"])
def test_streamed_samples_are_the_files(
    musicsteer: Runner, short: Path, cache: Path, tmp_path: Path, name: str
) -> None:
    generate(musicsteer, short, "file.wav", 0.35, "--format", name)
    out, err = stream(short, cache, "--duration", "0.35", "--format", name).communicate(timeout=120)
    assert b"error" not in err and out[:4] == b"RIFF" and out[4:8] == b"\xff\xff\xff\xff"
    streamed, rate = soundfile.read(io.BytesIO(out), dtype="float32")
    written, _ = soundfile.read(tmp_path / "file.wav", dtype="float32")
    assert rate == 16000 and np.array_equal(streamed, written)
    size = len((tmp_path / "file.wav").read_bytes())
    assert (
        out[-written.size * (2 if name == "pcm16" else 4) :]
        == (tmp_path / "file.wav").read_bytes()[size - written.size * (2 if name == "pcm16" else 4) :]
    )


def test_sound_comes_before_the_clip_is_done(short: Path, cache: Path) -> None:
    """The first piece is there while most of a long clip is not made yet; then the reader leaves."""
    process = stream(short, cache, "--duration", "60")
    assert process.stdout and process.stderr
    assert len(process.stdout.read(44 + 2000)) == 44 + 2000
    assert process.poll() is None
    process.stdout.close()
    assert process.wait(timeout=60) == 0, "a reader that has heard enough is no error"
    assert b"error" not in process.stderr.read()


def test_a_stream_keeps_its_codes(musicsteer: Runner, short: Path, cache: Path, tmp_path: Path) -> None:
    generate(musicsteer, short, "file.wav", 0.2, "--save-codes", "file.safetensors")
    kept = tmp_path / "stream.safetensors"
    process = stream(short, cache, "--duration", "0.2", "--save-codes", str(kept))
    process.communicate(timeout=120)
    assert process.returncode == 0 and (load_file(kept)["codes"] == codes(tmp_path, "file.safetensors")).all()


def test_a_stream_skips_windows_that_are_given(
    musicsteer: Runner, short: Path, vectors: Path, cache: Path, tmp_path: Path
) -> None:
    """Steering that no model survives, in frames of the first two windows, which the clip's codes fill."""
    generate(musicsteer, short, "a.wav", 0.3, "--save-codes", "a.safetensors")
    kept = ["--continue", str(tmp_path / "a.safetensors"), "--continue-from", "0.2s"]
    more = [*kept, "--steer", f"{vectors}:alpha=1e30:schedule=window,0,0.05"]
    generate(musicsteer, short, "b.wav", 0.3, *more)
    process = stream(short, cache, "--duration", "0.3", *more)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    streamed, _ = soundfile.read(io.BytesIO(out), dtype="int16")
    written, _ = soundfile.read(tmp_path / "b.wav", dtype="int16")
    assert np.array_equal(streamed, written)
    done = musicsteer(
        "generate", "--model", short, "--prompt", "x", "--duration", "0.3", "--out", "c.wav", *more[-2:]
    )
    assert done.code == 1 and "not finite" in done.err, "it does no harm where it is not heard"


@pytest.mark.parametrize(
    "arguments", [["--prompt", "second"], ["--seeds", "0:2"], ["--json"], ["--score"], ["--keep-partial"]]
)
def test_what_a_stream_has_no_place_for(musicsteer: Runner, short: Path, arguments: list[str]) -> None:
    done = musicsteer("generate", "--model", short, "--prompt", "x", "--out", "-", *arguments)
    assert done.code == 2 and "--out - does not work with" in done.err and done.out == ""


def test_an_interrupted_clip_is_kept(short: Path, cache: Path, tmp_path: Path) -> None:
    call = ["generate", "--model", short, "--prompt", "fast piano", "--duration", "600", "--keep-partial"]
    process = subprocess.Popen(
        [
            str(part)
            for part in [PROGRAM, *call, "--out", "clip.wav", "--save-codes", "clip.safetensors", *ONE]
        ],
        cwd=tmp_path,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(6)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.decode().splitlines()[-1] == "error: interrupted", err
    frames = record(tmp_path, "clip")["partial_frames"]
    assert isinstance(frames, int) and 0 < frames < record(tmp_path, "clip")["num_frames"] == 240_000
    assert soundfile.info(tmp_path / "clip.wav").frames == frames * 40
    assert codes(tmp_path, "clip.safetensors").shape == (1, 4, frames)
    assert out.decode().startswith("clip.wav  seed 0")


def test_codes_of_finished_clips_survive_an_interrupt(short: Path, cache: Path, tmp_path: Path) -> None:
    call = ["generate", "--model", short, "--prompt", "fast piano", "--duration", "10", "--keep-partial"]
    call += ["--seeds", "0:500", "--batch-size", "1", "--out", "clips", "--save-codes", "clips.safetensors"]
    process = subprocess.Popen(
        [str(part) for part in [PROGRAM, *call, *ONE]],
        cwd=tmp_path,
        env=environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while len(list((tmp_path / "clips").glob("*.wav"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    lines = (tmp_path / "clips" / "clips.jsonl").read_text().splitlines()
    finished = [line for line in lines if "partial_frames" not in line]
    assert codes(tmp_path, "clips.safetensors").shape == (len(finished), 4, 4000) and len(finished) >= 2
    cut_off = b"clips.safetensors: holds the codes of the finished clips only"
    assert (cut_off in err) == (len(finished) < len(lines))


def test_sections(musicsteer: Runner, short: Path, vectors: Path, tmp_path: Path) -> None:
    shutil.copy(vectors, tmp_path / "tempo.safetensors")
    steer = [{"file": "tempo.safetensors", "alpha": 2.0}]
    sections = [{"at_s": 0.1, "prompt": "slow organ"}, {"at_s": 0.15, "steer": steer}]
    (tmp_path / "song.json").write_text(json.dumps({"sections": sections}))
    generate(musicsteer, short, "plain.wav", 0.25, "--save-codes", "plain.safetensors")
    generate(
        musicsteer, short, "piece.wav", 0.25, "--save-codes", "piece.safetensors", "--steer", "song.json"
    )
    plain, piece = codes(tmp_path, "plain.safetensors"), codes(tmp_path, "piece.safetensors")
    assert (plain[:, :, :37] == piece[:, :, :37]).all() and (plain[:, :, 40:] != piece[:, :, 40:]).any()
    written = record(tmp_path, "piece")["sections"]
    assert [section["at_s"] for section in written] == [0.1, 0.15] and written[0]["prompt"] == "slow organ"
    assert written[1]["steer"][0]["alpha"] == 2.0 and len(written[1]["steer"][0]["sha256"]) == 64
    again = ["--steer", "piece.steering.json", "--save-codes", "again.safetensors"]
    generate(musicsteer, short, "again.wav", 0.25, *again)
    assert (codes(tmp_path, "again.safetensors") == piece).all()


def test_steering_in_sections_has_its_cost(
    musicsteer: Runner, short: Path, vectors: Path, tmp_path: Path
) -> None:
    """Steering from 0 s on is steering, wherever it is written."""
    shutil.copy(vectors, tmp_path / "tempo.safetensors")
    steer = [{"file": "tempo.safetensors", "alpha": 2.0}]
    (tmp_path / "whole.json").write_text(json.dumps({"steering": steer}))
    (tmp_path / "section.json").write_text(json.dumps({"sections": [{"at_s": 0, "steer": steer}]}))
    for name in ("whole", "section"):
        generate(musicsteer, short, f"{name}-clip.wav", WINDOW_S, "--steer", f"{name}.json", "--score")
    costs = [record(tmp_path, f"{name}-clip")["kl_nats"] for name in ("whole", "section")]
    assert costs[0] == costs[1] and costs[0] > 0.001


def test_inspect_shows_sections(musicsteer: Runner, vectors: Path, tmp_path: Path) -> None:
    shutil.copy(vectors, tmp_path / "tempo.safetensors")
    steer = [{"file": "tempo.safetensors", "alpha": 2.0}]
    sections = [{"at_s": 20, "prompt": "drums enter", "steer": steer}, {"at_s": 40, "steer": []}]
    (tmp_path / "song.json").write_text(json.dumps({"sections": sections}))
    done = musicsteer("inspect", "song.json")
    assert done.code == 0, done.err
    for words in ("2 sections", "20 s on", "drums enter", "tempo.safetensors", "none"):
        assert words in done.out
    assert json.loads(musicsteer("inspect", "song.json", "--json").out)["sections"] == sections


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ([{"at_s": 1}], "expected a prompt, steer, or both"),
        ([{"at_s": -1, "prompt": "x"}], "expected 0 seconds or more"),
        ([{"at_s": 2, "prompt": "x"}, {"at_s": 2, "prompt": "y"}], "expected a later time"),
        ([{"at": 2, "prompt": "x"}], "unknown key 'at'"),
    ],
)
def test_sections_that_say_nothing(
    musicsteer: Runner, short: Path, tmp_path: Path, sections: list[dict[str, object]], reason: str
) -> None:
    (tmp_path / "piece.json").write_text(json.dumps({"sections": sections}))
    done = musicsteer(
        *("generate", "--model", short, "--prompt", "x", "--steer", "piece.json", "--out", "clip.wav")
    )
    assert done.code == 1 and len(done.errors) == 1 and reason in done.err, done.err


def test_sections_are_for_generate(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    (tmp_path / "piece.json").write_text(json.dumps({"sections": [{"at_s": 0.1, "prompt": "x"}]}))
    grid = ["sweep", "--model", short, "--prompt", "x", "--steer", "piece.json", "--out", "runs"]
    done = musicsteer(*grid)
    assert done.code == 2 and "which only generate follows" in done.err


def test_sweep_and_extract_take_any_length(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    grid = ["sweep", "--model", short, "--prompt", "fast piano", "--duration", "0.275", "--kl", *ONE]
    assert musicsteer(*grid, "--out", "runs").code == 0
    [made] = [json.loads(line) for line in (tmp_path / "runs" / "runs.jsonl").read_text().splitlines()]
    assert made["num_frames"] == 110 and made["windows"] == {"frames": 40, "stride": 24}
    assert musicsteer("sweep", "--out", "runs").code == 0, "the folder says how it was cut"
    generate(musicsteer, short, "clip.wav", 0.275, "--batch-size", str(made["execution"]["batch_size"]))
    wav = next((tmp_path / "runs").rglob("*.wav"))
    assert wav.read_bytes() == (tmp_path / "clip.wav").read_bytes()

    prompts = Path(__file__).resolve().parents[2] / "prompts" / "tempo.json"
    arguments = ["--prompts", prompts, "--limit", "2", "--duration", "0.275", *ONE, "--out", "v.safetensors"]
    assert musicsteer("extract", "--model", short, *arguments).code == 0
    done = musicsteer(
        "patch", "--model", short, "--source", "a", "--target", "b", "--duration", "0.275", "--out", "p"
    )
    assert done.code == 2


def test_record_takes_any_length(musicsteer: Runner, short: Path, tmp_path: Path) -> None:
    """Each frame as the window that made it has it: 40 of the first, then 24 of each."""
    call = ["record", "--model", short, "--prompt", "fast piano", "--hooks", "decoder.1.mlp_out", *ONE]
    for name, duration in (("window", "0.1"), ("long", "0.275")):
        done = musicsteer(*call, "--duration", duration, "--out", f"{name}.safetensors")
        assert done.code == 0 and "2 rows" in done.out, done.err
    window, long = (
        load_file(tmp_path / f"{name}.safetensors")["decoder.1.mlp_out"] for name in ("window", "long")
    )
    assert window.shape[:2] == (2, 40) and long.shape[:2] == (2, 110)
    assert np.array_equal(long[:, :40], window) and np.isfinite(long).all()
    assert len({row.tobytes() for row in long[0]}) == 110, "no frame stands in another's place"


def test_calibrate_takes_any_length(musicsteer: Runner, short: Path, vectors: Path, tmp_path: Path) -> None:
    """What it measures is what a sweep of the same clips measures."""
    clips = ["--model", short, "--prompt", "fast piano", "--duration", "0.15", "--batch-size", "4", *ONE]
    target = ["--steer", vectors, "--target", "centroid=+1%", "--pairs", "8", "--check-pairs", "8"]
    done = musicsteer("calibrate", *clips, *target, "--json", "-q")
    assert done.code in (0, 1) and done.out, done.err
    found = json.loads(done.out)
    first, last = found["evidence"]["search"]["seeds"]
    seeds = f"{first}:{last + 1}"
    assert musicsteer("sweep", *clips, "--seeds", seeds, "--out", "s", "-q").code == 0
    made = [json.loads(line) for line in (tmp_path / "s" / "runs.jsonl").read_text().splitlines()]
    assert all(record["windows"] == {"frames": 40, "stride": 24} for record in made)
    centroids = [record["measures"]["spectral_centroid_hz"] for record in made]
    assert found["searched"][0]["unsteered"] == pytest.approx(np.mean(centroids), rel=1e-5)


def test_study_takes_any_length(musicsteer: Runner, short: Path, vectors: Path, tmp_path: Path) -> None:
    call = ["study", "--model", short, "--prompt", "fast piano", "--duration", "0.15", *ONE, "--out", "s"]
    vector = ["--steer", vectors, "--measure", "centroid", "--seeds", "0:8", "--controls", "4", "--no-audio"]
    done = musicsteer(*call, *vector, "-q")
    assert done.code == 0 and (tmp_path / "s" / "study.json").exists(), done.err
    for stage in ("layers", "confirm"):
        lines = (tmp_path / "s" / stage / "runs.jsonl").read_text().splitlines()
        for record in map(json.loads, lines):
            assert record["windows"] == {"frames": 40, "stride": 24} and record["num_frames"] == 60
