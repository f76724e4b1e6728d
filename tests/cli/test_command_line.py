"""What the program says to people: suggestions, plain numbers, progress, and where it goes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import PROGRAM, ROOT, Runner, environment
from sweeps import SHORT, grid

TEMPO = ROOT / "prompts" / "tempo.json"

UNKNOWN = {
    "a command": (["genrate", "--prompt", "x"], "unknown command 'genrate', did you mean 'generate'?"),
    "no such command": (["play"], "unknown command 'play'; expected one of extract, generate"),
    "an operation": (["vector", "scael", "x"], "unknown command 'scael', did you mean 'scale'?"),
    "a flag": (["generate", "--promt", "x"], "unknown flag '--promt', did you mean '--prompt'?"),
    "a flag with =": (["generate", "--promt=x"], "unknown flag '--promt', did you mean '--prompt'?"),
    "a sibling's flag": (["generate", "--alphas", "1"], "unknown flag '--alphas', did you mean '--alpha'?"),
    "a letter": (["generate", "-t", "4"], "unknown flag '-t', did you mean '--threads'?"),
    "after other flags": (
        ["sweep", "--prompt", "--x", "--seed", "0"],
        "unknown flag '--seed', did you mean '--seeds'?",
    ),
    "nothing near": (["generate", "--zzzzzz"], "unknown flag '--zzzzzz' (see "),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_unknown_is_named_with_the_nearest(name: str, musicsteer: Runner) -> None:
    arguments, expected = UNKNOWN[name]
    done = musicsteer(*arguments)
    assert done.code == 2 and len(done.err.splitlines()) == 1
    assert done.err.startswith(f"error: {expected}"), done.err


NUMBERS = {
    "threads below": (["--threads", "-1"], "--threads: '-1' is not a whole number from 0 to 1024"),
    "top-k beyond": (["--top-k", "99999999999999999999"], "--top-k: '99999999999999999999' is too large"),
    "top-k a fraction": (["--top-k", "2.5"], "--top-k: '2.5' is not a whole number"),
    "batch size": (["--batch-size", "many"], "--batch-size: 'many' is not a whole number"),
    "seed": (["--seeds", "18446744073709551616"], "a seed is at most 18446744073709551615"),
    "duration": (["--duration", "1e30"], "duration: expected seconds"),
    "greedy": (["--top-k", "1", "--temperature", "2"], "--temperature has no effect with --top-k 1"),
    "no guidance": (["--guidance", "1", "--negative-prompt", "y"], "--negative-prompt has no effect without"),
    "a strength": (["--steer", "tempo.safetensors:0.2"], "as in 'tempo.safetensors:alpha=0.2'"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_values_that_cannot_be_are_told_in_a_line(name: str, musicsteer: Runner, bundle: Path) -> None:
    arguments, expected = NUMBERS[name]
    flags = arguments if "--duration" in arguments else [*arguments, "--duration", "0.1"]
    done = musicsteer("generate", "--model", bundle, "--prompt", "x", *flags, "--out", "a.wav")
    assert done.code == 2 and len(done.err.splitlines()) == 1, done.err
    assert expected in done.err


def test_a_duration_is_printed_as_people_write_it(musicsteer: Runner, bundle: Path) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--stride", "4", "--out", "a.wav", "--duration", "1"
    )
    assert done.code == 2 and "the model's window of 5.1125 s" in done.err, done.err


def test_help_can_be_typed_as_shown(musicsteer: Runner) -> None:
    for arguments in (["--help"], ["generate", "--help"], ["vector", "--help"]):
        text = musicsteer(*arguments).out
        assert f"\n  {PROGRAM} " in text and "\n  musicsteer " not in text
    found = subprocess.run(
        ["musicsteer", "--help"],
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\n  musicsteer extract " in found.stdout


def test_merge_names_every_flag_that_it_ignores(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, alphas="1"), "--out", "one").code == 0
    for flag in (["--layers", "1"], ["--kl"], ["--threads", "2"], ["--format", "float"], ["--limit", "1"]):
        done = musicsteer("sweep", "--merge", "one", "--out", "merged", *flag)
        assert done.code == 2 and f"{flag[0]} has no effect with --merge" in done.err, done.err
    assert musicsteer("sweep", "--merge", "one", "--out", "merged", "--json", "-q").code == 0


def test_a_sweep_refuses_a_negative_prompt_without_guidance(
    musicsteer: Runner, bundle: Path, vectors: Path
) -> None:
    done = musicsteer(*grid(bundle, vectors, guidance="1", negative_prompt="rock"), "--out", "runs")
    assert done.code == 2 and "a negative prompt has no effect without guidance" in done.err


def test_prompts_that_the_tokenizer_hardly_knows(musicsteer: Runner, bundle: Path) -> None:
    clips = ["generate", "--model", bundle, *SHORT]
    plain = musicsteer(*clips, "--prompt", "fast piano", "--out", "a.wav")
    assert plain.code == 0 and "unk" not in plain.err
    one = musicsteer(*clips, "--prompt", "東京 音楽", "--out", "b.wav")
    assert one.code == 0 and "the prompt '東京 音楽' is mostly unknown" in one.err
    some = musicsteer(*clips, "--prompt", "fast piano", "--prompt", "東京 音楽", "--out", "c/")
    assert some.code == 0 and "1 of 2 prompts are, as '東京 音楽', mostly unknown" in some.err


def test_progress_off_a_terminal_is_lines_and_none_when_quiet(musicsteer: Runner, bundle: Path) -> None:
    long = ["generate", "--model", bundle, "--prompt", "piano", "--seeds", "0:20", "--batch-size", "1"]
    long += ["--duration", "2", "--threads", "1"]
    done = musicsteer(*long, "--out", "loud")
    lines = [line for line in done.err.splitlines() if line.startswith("generating: ")]
    assert done.code == 0 and 1 <= len(lines) <= 11, done.err
    others = set(done.err.splitlines()) - set(lines)
    assert all(line.endswith("samples at or beyond full scale") for line in others), others
    assert all(" %" in line for line in lines)
    assert "\r" not in done.err and "\x1b" not in done.err
    assert len(done.out.splitlines()) == 20
    quiet = musicsteer(*long, "-q", "--out", "quiet")
    assert quiet.code == 0 and "generating" not in quiet.err


def test_progress_on_a_terminal_does_not_mix_with_results(bundle: Path, cache: Path, tmp_path: Path) -> None:
    """Results and progress on one terminal: a result starts on a line that was cleared."""
    ours, theirs = pty.openpty()
    command = [
        PROGRAM,
        "generate",
        "--model",
        bundle,
        "--prompt",
        "piano",
        "--seeds",
        "0:12",
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--duration", "1", "--threads", "1", "--out", "clips"],
        cwd=tmp_path, env=environment(cache), stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    assert process.wait() == 0
    screen: list[str] = []
    for line in shown.decode().replace("\r\n", "\n").split("\n"):
        screen.append(line.rsplit("\r\x1b[K", 1)[-1])
    results = [line for line in screen if "  seed " in line]
    assert len(results) == 12 and all(line.startswith("clips/") for line in results)
    others = [line for line in screen if line and line not in results]
    assert all(line.endswith("samples at or beyond full scale") for line in others), others
    assert "generating: " in shown.decode(), "there was progress to clear"
    assert screen[-1] == ""


@pytest.mark.parametrize("wait_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_signal_at_any_time_of_the_start_is_said(
    bundle: Path, cache: Path, tmp_path: Path, wait_s: float
) -> None:
    """Once the program's own code runs, that is: before, there is nobody to say it."""
    command = [
        PROGRAM,
        "generate",
        "--model",
        bundle,
        "--prompt",
        "piano",
        "--seeds",
        "0:400",
        "--duration",
        "1",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--threads", "1", "--out", "clips"],
        cwd=tmp_path, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    blocked = Path(f"/proc/{process.pid}/status")
    while int(blocked.read_text().split("SigBlk:")[1].split()[0], 16) & (1 << (signal.SIGTERM - 1)) == 0:
        assert process.poll() is None
    time.sleep(wait_s)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "error: interrupted" in err, err


def test_a_bundle_that_is_cut_short_while_it_is_used(
    musicsteer: Runner, bundle: Path, cache: Path, tmp_path: Path
) -> None:
    import shutil

    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    command = [
        PROGRAM,
        "generate",
        "--model",
        copy,
        "--prompt",
        "piano",
        "--seeds",
        "0:400",
        "--batch-size",
        "2",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--duration", "1", "--threads", "1", "--out", "clips"],
        cwd=tmp_path, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (tmp_path / "clips" / "clips.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.truncate(copy / "decoder.pt", 4096)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert last.startswith(f"error: {copy}/decoder.pt: became shorter while it was in use"), err


def test_a_full_disk_leaves_whole_lines_and_its_own_reason(bundle: Path, cache: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: clips.jsonl grows past it, the WAVs do not."""
    command = (
        f"ulimit -f 4; exec {PROGRAM} generate --model {bundle} --seeds 0:20 --duration 0.02 --threads 1"
    )
    command += " --prompt '" + "piano " * 60 + "' --out clips"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(cache), capture_output=True, text=True
    )
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "clips.jsonl: cannot be written: File too large" in error, done.stderr
    lines = (tmp_path / "clips" / "clips.jsonl").read_bytes()
    assert lines.endswith(b"}\n") and lines.count(b"\n") >= 2


def test_records_beside_recordings_are_no_recordings(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    for side, prompt in (("fast", "fast piano"), ("slow", "slow piano")):
        done = musicsteer("generate", "--model", bundle, "--prompt", prompt, "--seeds", "0:2", "--duration",
                          "0.5", "--threads", "1", "--out", f"{side}/")  # fmt: skip
        assert done.code == 0, done.err
        soundfile.write(tmp_path / side / "own.wav", 0.1 * np.sin(np.arange(8000) / 5), 16000)
        (tmp_path / side / "own.json").write_text("{}")
    (tmp_path / "slow" / "notes.txt").write_text("mine")
    done = musicsteer("extract", "--model", bundle, "--positive-audio", "fast", "--negative-audio", "slow",
                      "--duration", "0.5", "--threads", "1", "--out", "t.safetensors")  # fmt: skip
    assert done.code == 0, done.err
    warnings = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2 and "slow/notes.txt" in warnings[0] and "1 files skipped" in warnings[1]


def test_cells_that_a_spreadsheet_would_compute_are_text(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    arguments = grid(bundle, vectors, alphas="1", seeds="0")
    done = musicsteer(*arguments, "--prompt", "=1+2", "--prompt", "@a, b", "--out", "runs")
    assert done.code == 0, done.err
    table = (tmp_path / "runs" / "runs.csv").read_text()
    assert ",'=1+2," in table and ',"\'@a, b",' in table
    soundfile.write(tmp_path / "=x.wav", np.zeros(8000), 16000)
    assert "\n'=x.wav," in musicsteer("measure", "=x.wav", "--csv").out


SETS = {
    "pairs.csv": "ID;positive;negative\n1;fast piano;slow piano\n2;fast organ;slow organ\n",
    "pairs.jsonl": '{"positive": "fast piano", "negative": "slow piano"}\n'
    '{"positive": "fast organ", "negative": "slow organ"}\n',
}


def test_contrast_sets_of_other_tools(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    extract = ["extract", "--model", bundle, *SHORT]
    for name, text in SETS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "fast.txt").write_text("fast piano\nfast organ\n")
    (tmp_path / "slow.txt").write_text("slow piano\nslow organ\n")
    sources = [["--prompts", name] for name in SETS]
    sources.append(["--positive", "fast.txt", "--negative", "slow.txt"])
    tensors = []
    for number, source in enumerate(sources):
        out = f"{number}.safetensors"
        done = musicsteer(*extract, *source, "--method", "pca", "--out", out)
        assert done.code == 0, done.err
        content = (tmp_path / out).read_bytes()
        tensors.append(content[8 + int.from_bytes(content[:8], "little") :])
    assert tensors[0] == tensors[1] == tensors[2]
    alone = musicsteer(*extract, "--positive", "fast.txt", "--out", "x.safetensors")
    assert alone.code == 2 and "--positive and --negative go together" in alone.err
    (tmp_path / "prompts.csv").write_text("ID;test_prompt\n1;fast piano\n2;slow piano\n")
    done = musicsteer("tokenize", "--model", bundle, "--file", "prompts.csv", "--json")
    assert [line.split('"text":"')[1] for line in done.out.splitlines()] == ['fast piano"}', 'slow piano"}']
    clips = musicsteer("generate", "--model", bundle, "--prompts", "prompts.csv", *SHORT, "--out", "c/")
    assert clips.code == 0 and len(clips.out.splitlines()) == 2


COMMANDS = ["", "extract", "generate", "study", "sweep", "calibrate", "patch", "record", "measure"]
COMMANDS += ["inspect", "tokenize", "vector", "vector add", "vector random", "vector scale"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(cache: Path, command: str) -> None:
    done = subprocess.run(
        [PROGRAM.name, *command.split(), "--help"],
        env={**environment(cache), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert "REQUIRED" not in done.stdout and "Env:" not in done.stdout


NEEDED = {
    "extract": {"--out"},
    "generate": {"--model", "--out"},
    "record": {"--model", "--hooks", "--out"},
    "calibrate": {"--model", "--target"},
    "sweep": {"--out"},
    "study": {"--model", "--steer", "--measure", "--out"},
    "patch": {"--model"},
}


@pytest.mark.parametrize("command", NEEDED)
def test_help_begins_with_what_is_needed_and_ends_with_how_it_runs(musicsteer: Runner, command: str) -> None:
    flags = re.findall(r"^  (?:-\w,)?(--[a-z-]+)", musicsteer(command, "--help").out, re.MULTILINE)
    assert set(flags[: len(NEEDED[command])]) == NEEDED[command]
    running = {"--help", "--device", "--threads", "--no-verify", "--log-level", "--quiet"}
    running |= {flag for flag in ("--batch-size", "--memory") if flag in flags}
    assert set(flags[-len(running) :]) == running
    assert len(flags) == len(set(flags))


def test_help_names_what_values_are(musicsteer: Runner) -> None:
    lines = [line.split() for line in musicsteer("generate", "--help").out.splitlines()]
    assert ["-m,--model", "DIR"] in [words[:2] for words in lines]
    assert ["--duration", "NUM"] in [words[:2] for words in lines]


def test_short_flags(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer("generate", "-m", bundle, "-p", "piano", "-o", "a.wav", "-q", *SHORT)
    assert done.code == 0 and "generating" not in done.err and "a.wav" in done.out
    assert musicsteer("generate", "--model", bundle, "--prompt", "piano", "--out", "b.wav", *SHORT).code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert musicsteer("generate", "-m", bundle, "-p", "", "-o", "c.wav", *SHORT).code == 0
    done = musicsteer("generate", "-m", "", "-p", "piano", "-o", "d.wav")
    assert done.code == 2 and "-m: its value is empty" in done.err
