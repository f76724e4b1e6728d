"""musicsteer check on a melody checkpoint.

A file of its own, and after test_export.py: TorchScript numbers the types that a process has compiled, and
bytes of bundles are compared there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import MELODY_SHAPES, save  # noqa: E402

from musicsteer import check_checkpoint  # noqa: E402


def test_a_melody_checkpoint_and_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = save(MELODY_SHAPES[0], tmp_path)
    program = ROOT / "build" / "musicsteer"
    assert check_checkpoint.main([str(checkpoint), "--frames", "6", "--binary", str(program)]) == 0
    report = capsys.readouterr().out
    assert "Verdict: the same as transformers." in report
    assert "  ok    prefix of melody and text " in report
    assert "  ok    'a calm piano mel' and a melody " in report
    assert "cross_attn" not in report
