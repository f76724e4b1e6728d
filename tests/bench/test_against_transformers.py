"""The benchmark runs, on a toy shape: its figures mean nothing there, and nothing is asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_has_both_sides(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "bench" / "against_transformers.py"
    flags = ["--shape", "tiny-mono", "--only", "codec", "--frames", "20", "--repeats", "1"]
    command = [sys.executable, str(script), str(tmp_path / "models"), *flags]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "speed.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "- processor: " in done.stdout
    assert "| f32: " in done.stdout and "| float32: " in done.stdout
    figures = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["rows"]["codec"]
    assert {"f32", "transformers float32", "transformers bfloat16"} <= set(figures)
    assert all(value > 0 for values in figures.values() for value in values)
