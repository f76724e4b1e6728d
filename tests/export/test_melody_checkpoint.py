"""musicsteer check and check-precision on a melody checkpoint, and bundles of one beside those of another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import MELODY_SHAPES, SHAPES, save  # noqa: E402

from musicsteer import check_checkpoint, check_precision, export_model  # noqa: E402


def test_a_melody_checkpoint_and_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = save(MELODY_SHAPES[0], tmp_path)
    program = ROOT / "build" / "musicsteer"
    assert check_checkpoint.main([str(checkpoint), "--frames", "6", "--binary", str(program)]) == 0
    report = capsys.readouterr().out
    assert "Verdict: the same as transformers." in report
    assert "  ok    prefix of melody and text " in report
    assert "  ok    'a calm piano mel' and a melody " in report
    assert "cross_attn" not in report


def bytes_of(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


def test_bytes_do_not_depend_on_what_was_exported_before(tmp_path: Path) -> None:
    """TorchScript numbers the types that a process has compiled, and names of types are in a bundle."""
    checkpoints = {"text": save(SHAPES[0], tmp_path / "a"), "melody": save(MELODY_SHAPES[0], tmp_path / "b")}
    alone = {}
    for kind, checkpoint in checkpoints.items():
        out = tmp_path / f"{kind}-alone"
        command = [sys.executable, "-m", "musicsteer.export_model", checkpoint, out]
        subprocess.run(command, check=True, capture_output=True)
        alone[kind] = bytes_of(out)
    for turn, kind in enumerate(("melody", "text", "melody")):
        out = export_model.export(str(checkpoints[kind]), tmp_path / f"{kind}-{turn}", verify=False)
        assert bytes_of(out) == alone[kind], f"{kind}, export {turn + 1} of the process"


SIZES = {
    "text": (
        "preprocessor_config.json",
        {"n_fft": "x"},
        "conditioning.chroma.fft_size is 'x'; expected a whole",
    ),
    "negative": ("preprocessor_config.json", {"n_fft": -4}, "conditioning.chroma.fft_size is -4; expected"),
    "no hop": (
        "preprocessor_config.json",
        {"hop_length": 0},
        "conditioning.chroma.hop_length is 0; expected",
    ),
    "a list": ("preprocessor_config.json", [1], "preprocessor_config.json holds no settings"),
    "no frames": ("config.json", {"chroma_length": 0}, "conditioning.chroma_length is 0; expected a whole"),
}


@pytest.mark.parametrize(("file", "content", "message"), SIZES.values(), ids=SIZES)
def test_sizes_that_the_program_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: object, message: str
) -> None:
    path = save(MELODY_SHAPES[0], tmp_path) / file
    if isinstance(content, dict):
        content = content | (json.loads(path.read_text("utf-8")) if path.exists() else {}) | content
    path.write_text(json.dumps(content), "utf-8")
    assert export_model.main([str(path.parent), str(tmp_path / "out"), "--no-verify"]) == 1
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lowered_melody_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str) -> None:
    """They run, and what they cost is measured with prefixes as the program has them."""
    checkpoint = save(MELODY_SHAPES[0], tmp_path)
    exact, lowered = tmp_path / "exact", tmp_path / "lowered"
    assert export_model.main([str(checkpoint), str(exact)]) == 0
    assert export_model.main([str(checkpoint), str(lowered), "--precision", precision]) == 0
    capsys.readouterr()
    check_precision.main([str(exact), str(lowered), "--frames", "12", "--clips", "3"])
    report = capsys.readouterr().out
    assert "rows are independent of each other" in report
    # Random weights round more coarsely than trained ones; a prefix left out costs far more.
    kl = [float(line.split("KL ")[1].split()[0]) for line in report.splitlines() if "KL" in line]
    assert len(kl) == 4 and max(kl) < 0.1, report
    assert json.loads((lowered / "manifest.json").read_text("utf-8"))["precision"]["decoder"] == precision
    program = [ROOT / "build" / "musicsteer", "generate", "--model", lowered, "--prompt", "piano", "--score"]
    clip = ["--duration", "0.1", "--out", tmp_path / "a.wav", "-q"]
    subprocess.run([*program, *clip], check=True, capture_output=True, timeout=120)
