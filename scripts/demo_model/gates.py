"""Measures what the demo model must reach, on clips that no training saw; --out keeps the figures as JSON.

python gates.py codec --model models/demo
python gates.py lm --model models/demo
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from codec import decode_clips, encode_clips
from lm import delay, load_model, logits_of, text_states, tokenize
from lm_data import HALF
from measure import auc, columns, measure
from memory import keep_freed_memory
from music import HOP, Song, draw_song
from sampler import decode, sample_codes
from synth import render
from torch import Tensor
from transformers import MusicgenForConditionalGeneration, T5TokenizerFast

HELD_OUT_SEED = 999
PROMPTS = Path(__file__).resolve().parents[2] / "prompts"
CHOICES = {
    "tempo": [
        ("fast music", "slow music"),
        ("a quick tune", "an unhurried tune"),
        ("very fast", "very slow"),
    ],
    "brightness": [
        ("bright music", "dark music"),
        ("a brilliant tune", "a dull tune"),
        ("very bright", "very dark"),
    ],
}
CLEARLY = 0.3  # attributes from here on count as fast, bright, ... in the choice of captions


def held_out(count: int) -> tuple[list[Song], np.ndarray]:
    """The first `count` songs of the test seed, and their sound [count, N]."""
    rng = random.Random(HELD_OUT_SEED)
    songs = [draw_song(rng) for _ in range(count)]
    return songs, np.stack([render(song) for song in songs]).astype(np.float32)


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio of [N] samples."""
    target = (reference @ estimate) / (reference @ reference) * reference
    return float(10 * np.log10((target @ target) / np.sum((estimate - target) ** 2)))


def within_4_percent(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of tempi that are right."""
    return float((np.abs(found / wanted - 1) < 0.04).mean())


def load(folder: Path) -> tuple[MusicgenForConditionalGeneration, T5TokenizerFast]:
    """Model in float32, and tokenizer."""
    return load_model(str(folder)), T5TokenizerFast.from_pretrained(folder)


def codec_gate(model: MusicgenForConditionalGeneration, count: int) -> dict:
    """Reconstruction of held-out clips: SI-SDR, tempo kept, centroid."""
    songs, clips = held_out(count)
    again = []
    for clip in clips:
        codes = encode_clips(model.audio_encoder, torch.from_numpy(clip[None]))
        again.append(decode_clips(model.audio_encoder, codes)[0, : len(clip)].numpy())
    before, after = columns([measure(c) for c in clips]), columns([measure(c) for c in again])
    si_sdr = [si_sdr_db(a, b) for a, b in zip(clips, again, strict=True)]
    tempi = ("tempo_bpm", "tempo_default_bpm", "pulse_bpm")
    steady = np.array([s.tempo == s.tempo_end for s in songs])
    true_bpm = np.array([s.tempo_bpm for s in songs])[steady]
    return {
        "clips": count,
        "si_sdr_db_mean": float(np.mean(si_sdr)),
        "si_sdr_db_10th_percentile": float(np.percentile(si_sdr, 10)),
        "tempo_within_4_percent": {key: within_4_percent(after[key], before[key]) for key in tempi},
        "steady_songs_read_right": {key: within_4_percent(before[key][steady], true_bpm) for key in tempi},
        "centroid_correlation": float(np.corrcoef(before["centroid_hz"], after["centroid_hz"])[0, 1]),
        "clarity_original": float(before["clarity"].mean()),
        "clarity_decoded": float(after["clarity"].mean()),
    }


@torch.no_grad()
def negative_log_likelihood(
    model: MusicgenForConditionalGeneration, tokenizer: T5TokenizerFast, codes: Tensor, prompts: list[str]
) -> np.ndarray:
    """Mean over codebooks and frames, [B], of codes [B, K, T] under prompts, without guidance."""
    inputs, targets = delay(codes, model.decoder.config.pad_token_id)
    found = []
    for i in range(0, len(codes), 16):
        ids, mask = tokenize(tokenizer, prompts[i : i + 16])
        logits = logits_of(model, inputs[i : i + 16], text_states(model, ids, mask), mask)
        wanted = targets[i : i + 16]
        chance = logits.log_softmax(-1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
        valid = wanted >= 0
        found.append((-(chance * valid).sum((1, 2)) / valid.sum((1, 2))).numpy())
    return np.concatenate(found)


def caption_choice(model: MusicgenForConditionalGeneration, tokenizer: T5TokenizerFast, count: int) -> dict:
    """Share of held-out clips to which the right one of two captions gives the higher likelihood."""
    songs, clips = held_out(count)
    values = {
        "tempo": np.array([(s.tempo + s.tempo_end) / 2 for s in songs]),
        "brightness": np.array([s.brightness for s in songs]),
    }
    codes = torch.cat([encode_clips(model.audio_encoder, torch.from_numpy(c[None])) for c in clips])
    codes = codes[:, :, :HALF]
    shares = {}
    for attribute, pairs in CHOICES.items():
        rows = np.flatnonzero(np.abs(values[attribute]) > CLEARLY)
        for high, low in pairs:
            nll = [
                negative_log_likelihood(model, tokenizer, codes[rows], [p] * len(rows)) for p in (high, low)
            ]
            right = (nll[0] < nll[1]) == (values[attribute][rows] > 0)
            shares[f"{attribute}: {high} / {low}"] = float(right.mean())
        ours = [shares[f"{attribute}: {high} / {low}"] for high, low in pairs]
        shares[attribute] = float(np.mean(ours))
    return shares


def side(concept: str, name: str, count: int) -> list[str]:
    """The first prompts of one side of a shipped prompt set."""
    prompts = json.loads((PROMPTS / f"{concept}.json").read_text())[name]["prompts"]
    return [p if isinstance(p, str) else p["text"] for p in prompts[:count]]


def neutral(count: int) -> list[str]:
    """The first neutral prompts."""
    return json.loads((PROMPTS / "neutral.json").read_text())["prompts"][:count]


def generate(
    model: MusicgenForConditionalGeneration,
    tokenizer: T5TokenizerFast,
    prompts: list[str],
    seed: int,
    groups: int = 1,
) -> tuple[np.ndarray, Tensor]:
    """Clips [B, N] and their codes [B, K, T]."""
    codes = sample_codes(model, tokenizer, prompts, seed=seed, groups=groups)
    return decode(model, codes), codes


def lm_gate(model: MusicgenForConditionalGeneration, tokenizer: T5TokenizerFast, count: int) -> dict:
    """Caption choice, pulse clarity, and how well the classes of generated clips differ."""
    choice = caption_choice(model, tokenizer, 2 * count)
    data = columns([measure(c[: HALF * HOP]) for c in held_out(2 * count)[1]])
    classes = {}
    for concept in ("tempo", "brightness"):
        for name in ("positive", "negative"):
            clips, _ = generate(model, tokenizer, side(concept, name, count), seed=21)
            classes[concept, name] = columns([measure(c) for c in clips])
    clarity = np.concatenate([c["clarity"] for c in classes.values()]).mean()
    areas = {
        key: auc(classes["tempo", "positive"][key], classes["tempo", "negative"][key])
        for key in ("tempo_bpm", "tempo_default_bpm", "pulse_bpm", "onset_rate")
    }
    bright, dark = classes["brightness", "positive"], classes["brightness", "negative"]
    return {
        "prompts_a_class": count,
        "caption_choice": choice,
        "clarity_generated": float(clarity),
        "clarity_data": float(data["clarity"].mean()),
        "clarity_ratio": float(clarity / data["clarity"].mean()),
        "auc_tempo": areas,
        "auc_centroid": auc(bright["centroid_hz"], dark["centroid_hz"]),
        "means": {f"{c} {n}": {k: float(v.mean()) for k, v in m.items()} for (c, n), m in classes.items()},
    }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gate", choices=("codec", "lm"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64, help="clips, or prompts a class")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    keep_freed_memory()
    model, tokenizer = load(arguments.model)
    if arguments.gate == "codec":
        figures = codec_gate(model, arguments.count)
    else:
        figures = lm_gate(model, tokenizer, arguments.count)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
