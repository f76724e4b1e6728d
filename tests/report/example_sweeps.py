"""Sweep folders made of synthetic clips, as `musicsteer sweep` lays them out, without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE_HZ = 16000
WEIGHTS = "a1" * 32
LABELS = {
    "tempo": {"negative": "slow", "positive": "fast"},
    "brightness": {"negative": "dark", "positive": "bright"},
}


def steering(alpha: float, concept: str = "tempo", **changes: Any) -> dict[str, Any]:
    """One entry of a record's `steering`."""
    return {
        "alpha": alpha,
        "concept": concept,
        "file": f"vectors/{concept}.safetensors",
        "labels": LABELS[concept],
        "layers": [0, 1, 2, 3, 4],
        "rows": "both",
        "sha256": hashlib.sha256(concept.encode()).hexdigest(),
        "site": "resid_post",
        "strategy": "per-layer",
        "unit": "difference",
    } | changes


def measures(**changes: Any) -> dict[str, Any]:
    """The measures of a clip, all of them."""
    return {
        "duration_s": 2.0,
        "sample_rate_hz": RATE_HZ,
        "tempo_bpm": 120.0,
        "onset_rate_hz": 2.0,
        "spectral_centroid_hz": 1000.0,
        "spectral_rolloff_hz": 2000.0,
        "spectral_bandwidth_hz": 800.0,
        "spectral_flatness": 0.01,
        "rms": 0.1,
        "loudness_lufs": -20.0,
        "true_peak_dbtp": -10.0,
        "silence_share": 0.0,
        "clipped_samples": 0,
    } | changes


def record(
    prompt: str | None = "piano music",
    seed: int = 0,
    applied: Sequence[dict[str, Any]] = (),
    values: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A line of runs.jsonl; its id follows from prompt, seed, steering and changes."""
    what = json.dumps([prompt, seed, list(applied), changes], sort_keys=True)
    clip_id = hashlib.sha256(what.encode()).hexdigest()[:20]
    return {
        "audio_sha256": hashlib.sha256(clip_id.encode()).hexdigest(),
        "clipped_samples": 0,
        "duration_s": 2.0,
        "execution": {
            "batch_size": 16,
            "device": "cpu",
            "precision": {"codec": "f32", "decoder": "f32", "text_encoder": "f32"},
            "text_length": 32,
            "threads": 2,
        },
        "file": f"clips/{clip_id}.wav",
        "format": "pcm16",
        "guidance_scale": 3.0,
        "id": clip_id,
        "measures": measures(**(values or {})),
        "model": {"name": "synthetic", "weights_sha256": WEIGHTS},
        "musicsteer": "0.1.0",
        "num_frames": 50,
        "prompt": prompt,
        "sample_rate_hz": RATE_HZ,
        "seed": seed,
        "steering": list(applied),
        "temperature": 1.0,
        "top_k": 250,
        "top_p": 0.0,
    } | changes


def write_sweep(folder: Path, records: Iterable[dict[str, Any]], plan: dict[str, Any] | None = None) -> Path:
    """A sweep's folder without audio."""
    (folder / "clips").mkdir(parents=True)
    stamp = {"format": "musicsteer-sweep", "format_version": 1, "oldest_reader": 1}
    (folder / "plan.json").write_text(json.dumps(stamp | (plan or {})), encoding="utf-8")
    lines = [json.dumps(entry, sort_keys=True) + "\n" for entry in records]
    (folder / "runs.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def plan_of(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What a plan.json says of a grid of these records, all of one setting of sampling."""
    entries = list(records)
    ways: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for applied in entry["steering"]:
            fixed = {key: value for key, value in applied.items() if key != "alpha"}
            way = ways.setdefault(json.dumps(fixed, sort_keys=True), {**fixed, "alphas": [0.0]})
            way["alphas"] = sorted({*way["alphas"], applied["alpha"]})
    settings = ("duration_s", "guidance_scale", "top_k", "top_p", "temperature", "musicsteer", "execution")
    return {
        "prompts": [
            {"text": text, "text_length": 32} for text in dict.fromkeys(e["prompt"] for e in entries)
        ],
        "seeds": sorted({entry["seed"] for entry in entries}),
        "steering": list(ways.values()),
        "sample_format": entries[0]["format"],
        **{key: entries[0][key] for key in settings},
    }


def sound_of(entry: dict[str, Any]) -> np.ndarray:
    """samples [N]: noise that is the same for the same record, and never silent."""
    noise = np.random.default_rng(int(entry["id"][:8], 16))
    length = int(entry["duration_s"] * RATE_HZ)
    carrier = np.sin(2 * np.pi * entry["measures"]["spectral_centroid_hz"] * np.arange(length) / RATE_HZ)
    return 0.2 * carrier + 0.05 * noise.standard_normal(length)


def write_audio(folder: Path, records: Iterable[dict[str, Any]]) -> None:
    """A 16-bit WAV for each record that names a file."""
    for entry in records:
        if entry["file"]:
            soundfile.write(folder / entry["file"], sound_of(entry), RATE_HZ, subtype="PCM_16")


def grid(
    alphas: Sequence[float] = (-0.4, -0.2, 0.2, 0.4),
    prompts: Sequence[str] = ("piano music", "a synth lead"),
    seeds: Iterable[int] = range(3),
    variants: Sequence[dict[str, Any]] = ({},),
    kl: bool = False,
) -> list[dict[str, Any]]:
    """Records whose tempo and centroid rise with alpha, each pair with an offset of its own.

    variants: changes to the steering entry, each a condition of its own.
    """
    records = []
    for row, prompt in enumerate(prompts):
        for seed in seeds:
            noise = np.random.default_rng([row, seed])
            base_bpm, base_hz = 110 + 8 * noise.standard_normal(), 1000 + 150 * noise.standard_normal()
            records.append(
                record(prompt, seed, values={"tempo_bpm": base_bpm, "spectral_centroid_hz": base_hz})
            )
            for place, variant in enumerate(variants):
                for alpha in alphas:
                    strength = alpha / (1 + place)
                    values = {
                        "tempo_bpm": base_bpm * (1 + 0.5 * strength + 0.03 * noise.standard_normal()),
                        "spectral_centroid_hz": base_hz * (1 + 0.9 * strength),
                        "loudness_lufs": -20.0 + 10 * alpha,
                        "true_peak_dbtp": -12.0 + 10 * alpha,
                    }
                    extra = {"kl_nats": 0.5 * alpha**2} if kl else {}
                    records.append(record(prompt, seed, [steering(alpha, **variant)], values, **extra))
    return records
