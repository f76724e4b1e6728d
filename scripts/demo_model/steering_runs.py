"""Steered clips made by the program and measured by librosa: what choosing and evaluating share."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from gates import load, negative_log_likelihood
from measure import columns, measure
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / "musicsteer"
# What must stay as in unsteered clips.
KEPT = ("rms", "flatness", "nll")
WORKERS = 2  # that measure


@dataclass(frozen=True)
class Aim:
    """What a concept moves, the change asked of its lowest and highest alpha, and what should stay."""

    measure: str
    low: float
    high: float
    beside: str
    beside_limit: float  # largest relative change of `beside`


AIMS = {
    "brightness": Aim("centroid_hz", -0.36, 0.35, "tempo_bpm", 0.05),
    "tempo": Aim("tempo_bpm", -0.25, 0.25, "centroid_hz", 0.08),
}


@dataclass(frozen=True)
class Setting:
    """How a concept is steered; the words are those of `musicsteer extract` and `generate --steer`."""

    strategy: str
    source_layer: int | None
    layers: str
    unit: str
    rows: str
    schedule: str = "constant"
    # What the vectors are read from: clips of this length, and the frames of them that count.
    duration_s: float = 8.0
    positions: str = "generated"
    limit: int = 0  # prompts a side; 0 is all, of which scripts/demo.py takes 25

    @classmethod
    def of(cls, chosen: dict[str, Any]) -> Setting:
        """That of a concept in steering.json, where what is the default is left out."""
        known = {field.name: chosen[field.name] for field in fields(cls) if field.name in chosen}
        return cls(**{"source_layer": None} | known)

    def as_dict(self) -> dict[str, Any]:
        """For steering.json."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in (None, field.default)
        }

    def extract(self, bundle: Path, concept: str, folder: Path) -> Path:
        """The concept's vectors; kept if they are there."""
        out = folder / f"{concept}-{self.duration_s:g}s-{self.positions.replace(':', '-')}.safetensors"
        if not out.exists():
            prompts = ROOT / f"prompts/{concept}.json"
            read = ["--duration", str(self.duration_s), "--positions", self.positions]
            read += ["--limit", str(self.limit)] if self.limit else []
            musicsteer("extract", "--model", bundle, "--prompts", prompts, *read, "--out", out)
        return out

    def flags(self, vectors: Path, alpha: float) -> list[str]:
        """The --steer option for one alpha."""
        parts = [f"alpha={alpha:g}", f"strategy={self.strategy}", f"layers={self.layers}"]
        parts += [f"unit={self.unit}", f"rows={self.rows}", f"schedule={self.schedule}"]
        if self.source_layer is not None:
            parts.append(f"source-layer={self.source_layer}")
        return ["--steer", ":".join([str(vectors), *parts])]


@dataclass(frozen=True)
class Trial:
    """The prompts and seeds that are generated at every alpha."""

    prompts: Sequence[str]
    seeds: range
    duration_s: float = 8.0


def neutral_prompts() -> list[str]:
    """The shipped prompts that name no concept."""
    content = json.loads((ROOT / "prompts" / "neutral.json").read_text(encoding="utf-8"))
    return [prompt if isinstance(prompt, str) else prompt["text"] for prompt in content["prompts"]]


def musicsteer(*arguments: str | Path) -> None:
    """Run the program; it says what goes wrong."""
    subprocess.run([PROGRAM, *arguments], check=True, stdout=subprocess.DEVNULL)


def random_vectors(vectors: Path, seed: int, out: Path) -> Path:
    """A vector file whose directions are random, each as long as the one it replaces."""
    generator = np.random.default_rng(seed)
    with safe_open(vectors, "np") as opened:
        metadata = opened.metadata()
    drawn = {}
    for name, vector in load_file(vectors).items():
        noise = generator.standard_normal(vector.shape).astype(np.float32)
        drawn[name] = noise * (np.linalg.norm(vector) / np.linalg.norm(noise))
    save_file(drawn, out, metadata={**metadata, "method": "random"})
    return out


def measure_file(path: Path) -> dict[str, float]:
    """One WAV."""
    return measure(soundfile.read(path)[0])


class Bench:
    """Generates and measures; every figure is an array [prompts, seeds]."""

    def __init__(self, checkpoint: Path, bundle: Path, work_dir: Path):
        self.bundle = bundle
        self.work_dir = work_dir
        self.model, self.tokenizer = load(checkpoint)
        self.pool = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))

    def clips(self, trial: Trial, steer: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Measurements of one setting at one alpha; without `steer`, of unsteered clips."""
        folder, codes_file = self.work_dir / "clips", self.work_dir / "codes.safetensors"
        shutil.rmtree(folder, ignore_errors=True)
        codes_file.unlink(missing_ok=True)
        command = [PROGRAM, "generate", "--model", self.bundle, "--out", folder, "--save-codes", codes_file]
        command += ["--seeds", f"{trial.seeds.start}:{trial.seeds.stop}", "--duration", str(trial.duration_s)]
        for prompt in trial.prompts:
            command += ["--prompt", prompt]
        subprocess.run([*command, *steer], check=True, stdout=subprocess.DEVNULL)
        lines = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        found = columns(list(self.pool.map(measure_file, [folder / record["file"] for record in records])))
        codes = torch.from_numpy(load_file(codes_file)["codes"])
        found["nll"] = negative_log_likelihood(
            self.model, self.tokenizer, codes, [record["prompt"] for record in records]
        )
        shape = (len(trial.prompts), len(trial.seeds))
        return {name: values.reshape(shape) for name, values in found.items()}

    def dose_response(
        self,
        trial: Trial,
        vectors: Path,
        setting: Setting,
        alphas: Sequence[float],
        unsteered: dict[str, np.ndarray],
    ) -> list[dict[str, np.ndarray]]:
        """Measurements at each alpha, paired by prompt and seed; alpha 0 is `unsteered`, bit by bit."""
        return [self.clips(trial, setting.flags(vectors, alpha)) if alpha else unsteered for alpha in alphas]


def slopes(values: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Slope over alpha (least squares) of each seed's mean over prompts, relative to the middle alpha's.

    values: [alphas, prompts, seeds] -> [seeds]
    """
    centred = np.asarray(alphas) - np.mean(alphas)
    by_seed = values.mean(axis=1)
    middle = values[int(np.argmin(np.abs(alphas)))].mean()
    return centred @ by_seed / (centred @ centred) / middle


def interval(values: np.ndarray, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean over the last axis (seeds); leading axes are averaged first."""
    values = values.reshape(-1, values.shape[-1]).mean(axis=0)
    picks = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def relative_changes(values: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Each seed's change of the mean over prompts, relative to the mean of all plain clips.

    values, plain: [prompts, seeds] -> [seeds]
    """
    return (values - plain).mean(axis=0) / plain.mean()


def strict_rises(values: np.ndarray) -> float:
    """Share of pairs of prompt and seed that rise from each alpha to the next; [alphas, prompts, seeds]."""
    return float((np.diff(values, axis=0) > 0).all(axis=0).mean())


def is_monotone(means: Sequence[float]) -> bool:
    """Rises from each alpha to the next."""
    return bool(np.all(np.diff(means) > 0))


def kept_within(found: dict[str, np.ndarray], usual: dict[str, np.ndarray]) -> dict[str, float | bool]:
    """Whether means of what should not move lie in the 1st to 99th percentile of usual, unsteered clips.

    NAME_share is the share of single clips that do.
    """
    inside: dict[str, float | bool] = {}
    for name in KEPT:
        low, high = np.percentile(usual[name], [1, 99])
        inside[name] = bool(low <= found[name].mean() <= high)
        inside[f"{name}_share"] = float(((found[name] >= low) & (found[name] <= high)).mean())
    return inside
