"""Commands that are programs of their own, the Python package's entry, and prompt sets and model by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from program import PROGRAM, ROOT, Runner, environment
from sweeps import SHORT

SHOW = """#!/bin/sh
printf '%s|' "$0" "$@"
grep SigBlk /proc/self/status
exit 7
"""


def command_in(folder: Path, name: str) -> Path:
    program = folder / f"musicsteer-{name}"
    program.write_text(SHOW)
    program.chmod(0o755)
    return program


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(folder) | {"MUSICSTEER_EXEC_PATH": str(folder)}
    return subprocess.run([PROGRAM, *arguments], env=variables, capture_output=True, text=True, check=False)


def test_an_unknown_command_is_a_program_of_the_installation(tmp_path: Path) -> None:
    program = command_in(tmp_path, "mine")
    done = run(tmp_path, "mine", "--alpha", "two words")
    assert done.returncode == 7 and done.stderr == ""
    shown, signals = done.stdout.rsplit("|", 1)
    assert shown == f"{program}|--alpha|two words"
    assert signals.split()[1].strip("0") == "", "Ctrl-C would not reach it"


def test_help_of_such_a_program_and_the_nearest_name(tmp_path: Path) -> None:
    program = command_in(tmp_path, "mine")
    assert run(tmp_path, "help", "mine").stdout.startswith(f"{program}|--help|")
    done = run(tmp_path, "mien")
    assert done.returncode == 2 and "unknown command 'mien', did you mean 'mine'?" in done.stderr


def test_a_command_of_the_program_goes_first(tmp_path: Path) -> None:
    command_in(tmp_path, "tokenize")
    assert run(tmp_path, "tokenize", "--help").returncode == 0


def test_help_is_the_same_however_it_is_asked_for(musicsteer: Runner) -> None:
    assert musicsteer("help").out == musicsteer("--help").out
    assert musicsteer("help", "vector", "scale").out == musicsteer("vector", "scale", "--help").out
    assert "--by" in musicsteer("help", "vector", "scale").out


def test_every_python_command_has_help(musicsteer: Runner) -> None:
    shown = musicsteer("--help").out
    for name in ("export", "check", "check-device", "check-precision", "report", "import", "cluster"):
        done = musicsteer("help", name)
        assert done.code == 0 and done.out.startswith(f"usage: musicsteer {name} "), done
        assert f"\n  {name} " in shown


def test_the_entry_of_the_package_becomes_the_program(tmp_path: Path) -> None:
    command_in(tmp_path, "mine")
    entry = tmp_path / "musicsteer"
    entry.write_text("import sys\nfrom musicsteer.program import main\nsys.exit(main())\n")
    variables = environment(tmp_path) | {"MUSICSTEER": str(PROGRAM)}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, entry, *arguments], env=variables, capture_output=True, text=True, check=False
        )

    assert call("--version").stdout.startswith("musicsteer ")
    assert call("mine").returncode == 7  # found beside the entry
    variables["MUSICSTEER"] = "/nowhere/musicsteer"
    done = call("--version")
    assert done.returncode == 1
    assert done.stderr == "error: /nowhere/musicsteer cannot be run: No such file or directory\n"


def test_the_entry_imports_nothing_that_takes_long() -> None:
    code = "import sys, musicsteer.program; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "transformers"} & set(loaded.split())


def test_a_shipped_prompt_set_by_name(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    extract = ["extract", "--model", bundle, "--limit", "2", "--duration", "0.1"]
    assert musicsteer(*extract, "--prompts", "tempo", "--out", "name.safetensors").code == 0
    path = ROOT / "prompts" / "tempo.json"
    assert musicsteer(*extract, "--prompts", path, "--out", "path.safetensors").code == 0
    assert (tmp_path / "name.safetensors").read_bytes() == (tmp_path / "path.safetensors").read_bytes()
    (tmp_path / "tempo").write_text("of this folder\n")
    done = musicsteer("generate", "--model", bundle, *SHORT, "--prompts", "tempo", "--out", "c/")
    assert done.code == 0 and "of this folder" in done.out
    done = musicsteer(*extract, "--prompts", "tempi", "--out", "x.safetensors")
    assert done.code == 1 and "tempi" in done.err


def test_the_model_from_the_environment(bundle: Path, cache: Path, tmp_path: Path) -> None:
    variables = environment(cache) | {"MUSICSTEER_MODEL": str(bundle)}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert call("generate", "--prompt", "piano", *SHORT, "--out", "a.wav").returncode == 0
    done = call("generate", "--model", "/nowhere", "--prompt", "piano", *SHORT, "--out", "b.wav")
    assert done.returncode == 1 and "/nowhere" in done.stderr
    kept = ["--save-activations", "kept.safetensors", "--out", "a.safetensors"]
    assert call("extract", "--prompts", "tempo", "--limit", "2", *SHORT, *kept).returncode == 0
    # Unlike a flag, the variable is not refused where it has no effect.
    done = call("extract", "--from-activations", "kept.safetensors", "--out", "b.safetensors")
    assert done.returncode == 0, done.stderr
    done = call(
        "extract", "--model", "/x", "--from-activations", "kept.safetensors", "--out", "c.safetensors"
    )
    assert done.returncode == 2 and "--model has no effect" in done.stderr
    done = call("sweep", "--merge", "nothing", "--out", "merged")
    assert done.returncode == 1 and "nothing: expected the folder of a sweep" in done.stderr
    del variables["MUSICSTEER_MODEL"]
    assert call("generate", "--prompt", "piano", "--out", "c.wav").returncode == 2
