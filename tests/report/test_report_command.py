"""The report's program: what it writes, and what it says when it can't."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from example_sweeps import grid, plan_of, record, steering, write_audio, write_sweep

from musicsteer.report import build
from musicsteer.report.audio import CODECS, UnreadableAudio, encode_clip
from musicsteer.report.cli import main
from musicsteer.report.command_line import command_line
from musicsteer.report.facts import sentence_of
from musicsteer.report.loading import read_sweeps

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))


def report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "musicsteer.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    records = grid(seeds=range(2))
    write_audio(write_sweep(tmp_path / "sweep", records), records)
    return tmp_path / "sweep"


def data_of(page: Path) -> dict:
    html = page.read_text(encoding="utf-8")
    start = html.index('id="report-data">') + len('id="report-data">')
    return json.loads(html[start : html.index("</script>", start)])


def test_a_folder_holds_page_plots_and_clips(tmp_path, sweep):
    done = report(sweep, "--out", tmp_path / "report")
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["audio", "index.html", "plotly.min.js"]
    clips = data_of(tmp_path / "report" / "index.html")["clips"]
    assert {path.stem for path in (tmp_path / "report" / "audio").iterdir()} == {clip["id"] for clip in clips}
    assert f"{len(clips)} clips; page" in done.stdout
    assert not list(tmp_path.glob(".report-*"))


@pytest.mark.parametrize("out", ["page.html", "folder"])
def test_a_single_file_holds_everything(tmp_path, sweep, out):
    done = report(sweep, "--single-file", "--out", tmp_path / out)
    assert done.returncode == 0, done.stderr
    page = tmp_path / out if out.endswith("html") else tmp_path / out / "index.html"
    html = page.read_text(encoding="utf-8")
    assert html.count("data-clip=") - html.count('[data-clip="') == len(grid(seeds=range(2)))
    assert "plotly.js v" in html and "vorbis" in done.stdout


def test_texts_cannot_break_out_of_the_page(tmp_path):
    evil = "</script><script>alert(1)</script> & 'quotes' \"more\""
    folder = write_sweep(tmp_path / "sweep", [record(evil, seed) | {"file": None} for seed in range(2)])
    assert report(folder, "--out", tmp_path / "report").returncode == 0
    page = tmp_path / "report" / "index.html"
    assert "<script>alert" not in page.read_text(encoding="utf-8")
    assert data_of(page)["prompts"] == [evil]


def test_unreadable_audio_is_said_and_the_rest_is_there(tmp_path, sweep):
    first, second, *_ = sorted((sweep / "clips").iterdir())
    first.write_bytes(b"RIFF this is not audio")
    second.unlink()
    done = report(sweep, "--out", tmp_path / "report")
    assert done.returncode == 0 and "the audio of 2 clips cannot be read" in done.stderr
    audible = {clip["id"]: clip["audio"] for clip in data_of(tmp_path / "report" / "index.html")["clips"]}
    assert not audible[first.stem] and not audible[second.stem] and sum(audible.values()) == len(audible) - 2
    assert "The audio of 2 clips cannot be read" in (tmp_path / "report" / "index.html").read_text(
        encoding="utf-8"
    )


def test_a_clip_that_is_cut_short_is_not_played(tmp_path, sweep):
    first, *_ = sorted((sweep / "clips").iterdir())
    first.write_bytes(first.read_bytes()[:1000])
    done = report(sweep, "--out", tmp_path / "report")
    assert done.returncode == 0 and "the audio of 1 clip cannot be read" in done.stderr
    audible = {clip["id"]: clip["audio"] for clip in data_of(tmp_path / "report" / "index.html")["clips"]}
    assert [name for name, audio in audible.items() if not audio] == [first.stem]
    assert "it is cut short: 1000 of" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_missing_clips_and_facts_are_told_with_true_minuses(tmp_path):
    records = grid(seeds=range(2))
    there = [entry | {"file": None} for entry in records[:-4]]
    folder = write_sweep(tmp_path / "sweep", there, plan_of(records))
    assert report(folder, "--out", tmp_path / "report").returncode == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "4 clips of the plan are missing" in page
    assert "−0.4, −0.2, 0, +0.2, +0.4" in page and "-0.4, -0.2" not in page


def test_an_older_report_is_only_replaced_when_asked(tmp_path, sweep):
    out = tmp_path / "report"
    assert report(sweep, "--out", out).returncode == 0
    before = (out / "index.html").stat().st_ino
    refused = report(sweep, "--out", out)
    assert refused.returncode == 1 and "--force" in refused.stderr
    assert (out / "index.html").stat().st_ino == before
    assert report(sweep, "--out", out, "--force").returncode == 0
    assert (out / "index.html").stat().st_ino != before


def test_what_is_no_report_is_never_replaced(tmp_path, sweep):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").write_text("mine")
    done = report(sweep, "--out", tmp_path / "music", "--force")
    assert done.returncode == 1 and "is not a report" in done.stderr
    assert (tmp_path / "music" / "song.wav").read_text() == "mine"
    assert report(sweep, "--out", sweep, "--force").returncode == 1
    assert report(sweep, "--out", tmp_path, "--force").returncode == 1


@pytest.mark.parametrize("run", ["none", "empty"])
def test_bad_runs_end_in_one_sentence(tmp_path, run):
    (tmp_path / "empty").mkdir()
    done = report(tmp_path / run, "--out", tmp_path / "report")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_table_has_means_changes_and_intervals_and_makes_no_page(tmp_path):
    records = [record(seed=seed, values={"tempo_bpm": 100.0 + seed}) for seed in range(3)]
    for seed, bpm in enumerate((110.0, 121.0, 99.0)):
        records.append(record(seed=seed, applied=[steering(0.5)], values={"tempo_bpm": bpm}))
    done = report(write_sweep(tmp_path / "sweep", records), "--table")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == "tempo: slow ↔ fast".split()
    assert lines[2] == "Tempo (BPM): 2 of 3 pairs rise from 0 to +0.5".split()
    assert lines[4] == ["0", "3", "101.0", "[98.5,", "103.5]"]  # 101 +- 4.303 / sqrt(3)
    assert lines[5][:3] == ["+0.5", "3", "110.0"] and lines[5][5] == "+8.9"
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]


def test_neither_page_nor_table_is_wrong_usage(sweep):
    done = report(sweep)
    assert done.returncode == 2 and "--out" in done.stderr and "--table" in done.stderr


def test_a_small_page_has_whole_pairs_and_no_plots(tmp_path, sweep, monkeypatch, capsys):
    records = read_sweeps([sweep]).clips
    one_pair = sum(1 for clip in records if clip.pair == records[0].pair)
    monkeypatch.setattr(build, "SMALL_BYTES", 230_000)
    assert main([str(sweep), "--small", "--out", str(tmp_path / "page.html")]) == 0
    page = tmp_path / "page.html"
    assert page.stat().st_size <= 230_000
    assert "plotly.js v" not in page.read_text(encoding="utf-8")
    audible = [clip for clip in data_of(page)["clips"] if clip["audio"]]
    heard = {(clip["prompt"], clip["seed"]) for clip in audible}
    assert 1 <= len(heard) < 4 and len(audible) == one_pair * len(heard)
    assert f"the clips of {len(heard)} of 4 pairs" in page.read_text(encoding="utf-8")
    monkeypatch.setattr(build, "SMALL_BYTES", 140_000)
    assert main([str(sweep), "--small", "--out", str(tmp_path / "none.html")]) == 1
    assert "\nerror: not one prompt and seed fits into 0.14 MB" in capsys.readouterr().err
    assert not (tmp_path / "none.html").exists()


def test_a_small_page_of_a_sweep_without_audio(tmp_path):
    sweep = write_sweep(tmp_path / "sweep", [record(file=None, audio_sha256=None)])
    assert main([str(sweep), "--small", "--out", str(tmp_path / "page.html")]) == 0
    assert [clip["audio"] for clip in data_of(tmp_path / "page.html")["clips"]] == [False]


def test_flac_keeps_every_sample_and_the_others_every_length(tmp_path, sweep):
    path = next((sweep / "clips").iterdir())
    samples, rate = soundfile.read(path, dtype="int16")
    for codec in CODECS:
        clip = encode_clip(path, codec)
        (tmp_path / codec).write_bytes(clip.data)
        decoded, decoded_rate = soundfile.read(tmp_path / codec, dtype="int16")
        assert (decoded_rate, len(decoded)) == (rate, len(samples))
        assert codec != "flac" or (decoded == samples).all()
    with pytest.raises(UnreadableAudio, match="no such file"):
        encode_clip(tmp_path / "none.wav", "flac")


def test_command_line_spells_every_setting():
    entry = record('it\'s a "prompt"; $HOME', 7, [steering(-0.25, source_layer=3, strategy="one-to-all")])
    words = shlex.split(command_line(entry, "my bundle", "clip.wav"))
    assert words[:4] == ["musicsteer", "generate", "--model", "my bundle"]
    assert '--prompt=it\'s a "prompt"; $HOME' in words
    assert words[words.index("--steer") + 1] == (
        "vectors/tempo.safetensors:alpha=-0.25:strategy=one-to-all:layers=0,1,2,3,4:source-layer=3"
        ":site=resid_post:rows=both:unit=difference"
    )
    gate = {"gate": "decoder.2.resid_post<0.3", "gate_file": "g.safetensors", "gate_sha256": "0" * 64}
    special = record("x", 7, [steering(1.0, weights="top-3", heads=[0, 2], **gate)])
    spelled = shlex.split(command_line(special, "my bundle", "clip.wav"))
    assert spelled[spelled.index("--steer") + 1].endswith(
        ":unit=difference:weights=top-3:heads=0,2:gate=g.safetensors@decoder.2.resid_post<0.3"
    )
    for flag, value in {"--seeds": "7", "--duration": "2", "--top-k": "250", "--batch-size": "16"}.items():
        assert words[words.index(flag) + 1] == value


@pytest.mark.parametrize("prompt", ["-x --seeds 9", "it's; `x` $y", None])
def test_the_programs_parser_accepts_the_command_line(tmp_path, prompt):
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built")
    entry = record(prompt, 7, [], **({"negative_prompt": "-- noise"} if prompt else {}))
    words = shlex.split(command_line(entry, str(tmp_path / "no-bundle"), str(tmp_path / "clip.wav")))
    done = subprocess.run([PROGRAM, *words[1:]], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr  # not 2, wrong usage: only the bundle is missing
    assert "no-bundle" in done.stderr


@pytest.mark.parametrize("is_out", [False, True])
def test_a_name_that_is_not_utf_8(tmp_path, sweep, is_out):
    folder = os.fsencode(tmp_path) + b"/sw\xff"
    os.mkdir(folder) if is_out else os.rename(sweep, folder)
    paths = [os.fsencode(sweep), folder + b"/page"] if is_out else [folder, os.fsencode(tmp_path / "page")]
    command = [sys.executable, "-m", "musicsteer.report", paths[0], "--out", paths[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "sw\\udcff" in done.stderr and "its name is not UTF-8: rename it" in done.stderr


def test_the_first_sentence_is_in_the_labels_words(tmp_path):
    def sentence(*concepts: str, labels: dict | None = None) -> str:
        changes = {} if labels is None else {"labels": labels}
        records = [record(applied=[steering(0.2, concept, **changes)]) for concept in concepts]
        folder = write_sweep(tmp_path / f"{len(list(tmp_path.iterdir()))}", [record(), *records])
        return sentence_of(read_sweeps([folder]))

    start = "Move the slider to hear the same prompt and seed "
    assert sentence("tempo", "brightness") == start + "made slower or faster, darker or brighter."
    assert sentence("tempo", labels={"negative": "piano", "positive": "drums"}) == start + (
        "from piano to drums."
    )
    assert sentence("tempo", labels={"negative": "", "positive": ""}) == start + "with more or less tempo."
