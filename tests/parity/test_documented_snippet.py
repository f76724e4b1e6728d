"""The Python in docs/python.md sounds as the program's steering does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
COMMON = ["--threads", "1", "--log-level", "warn"]


def snippet() -> str:
    """The Python of the section that uses no package of ours."""
    document = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    found = re.search(r"## Without the package.*?```python\n(.*?)```", document, re.DOTALL)
    assert found
    return found.group(1)


def test_python_hooks_sound_the_same(tmp_path: Path) -> None:
    bundle, vectors, clip = tmp_path / "bundle", tmp_path / "tempo.safetensors", tmp_path / "clip.wav"
    export = [sys.executable, "-m", "musicsteer.export_model", ROOT / "models" / "demo", bundle]
    subprocess.run([*export, "--no-verify"], check=True)
    extract = [PROGRAM, "extract", "--model", bundle, "--prompts", ROOT / "prompts" / "tempo.json"]
    extract += ["--limit", "2", "--duration", "1", "--out", vectors, *COMMON]
    subprocess.run(extract, check=True)

    code = snippet().replace('"models/demo"', repr(str(ROOT / "models" / "demo")))
    code = code.replace('"out/demo/tempo.safetensors"', repr(str(vectors)))
    heard: dict[str, object] = {}
    exec(compile(code, "docs/python.md", "exec"), heard)
    frames, samples = heard["frames"], heard["samples"]

    generate = [PROGRAM, "generate", "--model", bundle, "--prompt", "piano music", "--top-k", "1"]
    generate += ["--duration", str(frames / 25), "--steer", f"{vectors}:alpha={heard['alpha']}"]
    subprocess.run([*generate, "--format", "float", "--out", clip, *COMMON], check=True)
    ours = soundfile.read(clip, dtype="float32")[0]
    theirs = samples[0, 0].detach().numpy()
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max()
    plain = [argument for argument in generate if "alpha=" not in str(argument) and argument != "--steer"]
    subprocess.run([*plain, "--format", "float", "--out", tmp_path / "plain.wav", *COMMON], check=True)
    assert np.abs(soundfile.read(tmp_path / "plain.wav")[0] - ours).max() > 0.01
