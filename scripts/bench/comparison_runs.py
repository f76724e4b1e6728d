"""Both sides of against_transformers.py: what is prepared once, and one measured call of each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import cores
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "python" / "musicsteer"
EXPORT = [str(ROOT / "build" / "musicsteer"), "export"]
PROMPT = "a calm piano melody with soft strings"
# Side -> options of the exporter. The last one differs in its codec alone.
VARIANTS: dict[str, list[str]] = {
    "f32": [],
    "bf16": ["--precision", "bf16", "--codec-precision", "bf16"],
    "int8": ["--precision", "int8", "--codec-precision", "bf16"],
    "f32, bf16 codec": ["--codec-precision", "bf16"],
}


class BenchError(Exception):
    """The benchmark cannot go on; one sentence."""


@dataclass
class Ended:
    """A process that ended well."""

    output: str
    seconds: float
    peak_bytes: int


def call(command: list[str], **variables: str) -> Ended:
    """Run a process to its end, from its start by this clock, with its peak memory.

    Raises:
        BenchError: it failed, with the last thing it said.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | variables)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            said = err.read().strip().splitlines() or ["nothing"]
            raise BenchError(f"{Path(command[0]).name} {command[1]} failed: {said[-1]}")
        return Ended(out.read(), seconds, usage.ru_maxrss * 1024)


def exporter_offers() -> set[str]:
    """The variants that this version's exporter can make."""
    usage = call([*EXPORT, "--help"]).output
    offered = usage.split("--precision {", 1)[1].split("}", 1)[0].split(",")
    return {name for name, flags in VARIANTS.items() if "--precision" not in flags or flags[1] in offered}


def recipe_hash() -> str:
    """Changes with whatever makes a bundle."""
    digest = hashlib.sha256()
    for path in [*sorted((PACKAGE / "torchscript").glob("*.py")), PACKAGE / "export_model.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_checkpoint(folder: Path, shape_name: str) -> Path:
    """A checkpoint with random weights, unless it is there."""
    sys.path.insert(0, str(ROOT / "tests" / "parity"))
    from checkpoints import SHAPES, musicgen_small_shape, save

    shape = next(shape for shape in [musicgen_small_shape(), *SHAPES] if shape.name == shape_name)
    return save(shape, folder)


def make_bundle(checkpoint: Path, variant: str) -> Path:
    """The checkpoint's bundle, beside it, unless one of this version is there."""
    bundle = checkpoint.with_name(f"{checkpoint.name}-{variant.replace(', ', '-').replace(' ', '-')}")
    stamp = bundle.with_name(bundle.name + ".recipe")
    if not bundle.exists() or not stamp.exists() or stamp.read_text() != recipe_hash():
        command = [*EXPORT, str(checkpoint), str(bundle), "--force", "--no-verify"]
        call([*command, *VARIANTS[variant]])
        stamp.write_text(recipe_hash())
    return bundle


def make_vectors(bundle: Path, out: Path) -> Path:
    """A vector file with a small random vector for each layer."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    layers, width = manifest["decoder"]["num_layers"], manifest["decoder"]["hidden_size"]
    draw = torch.Generator().manual_seed(0)
    names = [f"decoder.{i}.resid_post" for i in range(layers)]
    vectors = {name: 1e-2 * torch.randn(width, generator=draw) for name in names}
    stats = {"norm": 1.0, "mean_residual_norm": 1.0, "effect_size": 1.0}
    stamp = {"format": "musicsteer-vectors", "format_version": 1, "oldest_reader": 1}
    words = {"concept": "none", "method": "mean-diff", "model": manifest["model"]["name"]}
    words |= {"weights_sha256": manifest["model"]["weights_sha256"], "prompts_sha256": "0" * 64}
    words |= {"positions": "generated", "rows": "conditional"}
    values: dict[str, Any] = {
        "musicsteer": stamp,
        "labels": {"negative": "less", "positive": "more"},
        "counts": {"negative": 1, "positive": 1},
        "layers": dict.fromkeys(names, stats),
        "num_layers": layers,
        "hidden_size": width,
        "duration_s": 1.0,
        "guidance_scale": 3.0,
        "top_k": 250,
        "top_p": 0.0,
        "temperature": 1.0,
        "seed": 0,
    }
    save_file(vectors, out, metadata=words | {key: json.dumps(value) for key, value in values.items()})
    return out


@dataclass
class Sides:
    """What the measured calls need."""

    checkpoint: Path
    bundles: dict[str, Path]
    vectors: Path
    build: Path
    frames: int
    work: Path  # for files that a call leaves

    @property
    def duration_s(self) -> float:
        """Of a clip of `frames` frames."""
        manifest = json.loads((next(iter(self.bundles.values())) / "manifest.json").read_text("utf-8"))
        return self.frames / manifest["codec"]["frame_rate_hz"]

    def job_file(self, job: dict[str, Any]) -> str:
        """A job as a file."""
        path = self.work / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        return str(path)

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def engine(self, variant: str, **job: Any) -> dict[str, Any]:
        """engine_times, with its peak memory."""
        job |= {"bundle": str(self.bundles[variant]), "threads": cores()}
        # As the program sets it for itself.
        ended = call([str(self.build / "tests" / "engine_times"), self.job_file(job)], GOMP_SPINCOUNT="2000")
        return json.loads(ended.output) | {"process_s": ended.seconds, "peak_bytes": ended.peak_bytes}

    def transformers(self, dtype: str, threads: list[int], **job: Any) -> dict[str, Any]:
        """transformers_times.py, with its peak memory."""
        job |= {"checkpoint": str(self.checkpoint), "dtype": dtype, "threads": threads}
        job |= {"frames": self.frames, "prompt": PROMPT}
        script = Path(__file__).with_name("transformers_times.py")
        ended = call([sys.executable, str(script), self.job_file(job)])
        return json.loads(ended.output) | {"process_s": ended.seconds, "peak_bytes": ended.peak_bytes}

    def generate(self, variant: str) -> Ended:
        """One steered clip, text to WAV."""
        command = [str(self.build / "musicsteer"), "generate", "--prompt", PROMPT]
        command += ["--steer", f"{self.vectors}:alpha=1", "--out", str(self.fresh("clip") / "clip.wav")]
        return self.musicsteer(command, variant)

    def variations(self, variant: str) -> Ended:
        """16 clips: 4 strengths x 4 seeds, text to WAV."""
        command = [str(self.build / "musicsteer"), "sweep", "--prompt", PROMPT, "--seeds", "0:4"]
        command += ["--steer", str(self.vectors), "--alphas=-1,-0.5,0.5,1"]
        return self.musicsteer([*command, "--out", str(self.fresh("sweep") / "out")], variant)

    def musicsteer(self, command: list[str], variant: str) -> Ended:
        """The program on a variant's bundle, on all cores."""
        flags = ["--model", str(self.bundles[variant]), "--threads", str(cores()), "--log-level", "off"]
        return call([*command, *flags, "--duration", str(self.duration_s)])
