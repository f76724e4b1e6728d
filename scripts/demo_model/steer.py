"""A quick look at steering, in Python alone: does a difference of means move tempo and brightness by degrees?

    python steer.py --model models/demo --concept tempo --source all --alphas=-2,-1,0,1,2 --random 8

Directions are mean(positive) - mean(negative) of each layer's output over generated frames of conditional
rows, from the shipped prompt sets; they are added to both rows. `--source all` adds to every layer its own
direction, `--source 3` adds layer 3's direction to every layer, `--source 3 --only` to layer 3 alone.
Prompts of the evaluation are neutral and their seeds are shared by all alphas. `--layers 1-4` limits where
anything is added.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from gates import load, negative_log_likelihood, neutral, side
from measure import columns, measure
from memory import keep_freed_memory
from sampler import decode, layer_hooks, mean_states, sample_codes
from torch import Tensor
from transformers import MusicgenForConditionalGeneration, T5TokenizerFast

SHOWN = ("tempo_bpm", "onset_rate", "centroid_hz", "clarity", "rms", "flatness", "nll")
EXTRACTION_SEED, EVALUATION_SEED = 1, 4711
EXTRACTION_FRAMES = 150


def directions(
    model: MusicgenForConditionalGeneration, tokenizer: T5TokenizerFast, concept: str, prompts: int
) -> Tensor:
    """Difference of means of every layer's output, [layers, D]."""
    means = []
    for name in ("positive", "negative"):
        chosen = side(concept, name, prompts)
        means.append(mean_states(model, tokenizer, chosen, EXTRACTION_FRAMES, EXTRACTION_SEED))
    difference = means[0].mean(1) - means[1].mean(1)
    relative = difference.norm(dim=1) / means[0].norm(dim=-1).mean(1)
    print(f"{concept}: norm of the direction, of the residual stream's:", np.round(relative.tolist(), 3))
    return difference


def plan(vectors: Tensor, source: str, only: bool, layers: list[int]) -> dict[int, Tensor]:
    """Layer -> what is added there at alpha 1."""
    if source == "all":
        return {layer: vectors[layer] for layer in layers}
    return {layer: vectors[int(source)] for layer in ([int(source)] if only else layers)}


def run(
    model: MusicgenForConditionalGeneration,
    tokenizer: T5TokenizerFast,
    added: dict[int, Tensor],
    alphas: list[float],
    prompts: list[str],
    seed: int,
) -> list[dict[str, np.ndarray]]:
    """Measurements of the clips at each alpha, paired by prompt and random numbers."""
    found = []
    for alpha in alphas:
        with layer_hooks(model, add={layer: alpha * vector for layer, vector in added.items()}):
            codes = sample_codes(model, tokenizer, prompts, seed=seed)
        rows = columns([measure(clip) for clip in decode(model, codes)])
        rows["nll"] = negative_log_likelihood(model, tokenizer, codes, prompts)
        found.append(rows)
    return found


def report(title: str, alphas: list[float], found: list[dict[str, np.ndarray]]) -> dict:
    """Prints means with standard errors; returns them."""
    print(f"== {title}")
    middle = found[min(range(len(alphas)), key=lambda i: abs(alphas[i]))]
    table: dict = {"alphas": alphas}
    for key in SHOWN:
        means = [float(rows[key].mean()) for rows in found]
        errors = [float(rows[key].std(ddof=1) / len(rows[key]) ** 0.5) for rows in found]
        low, high = np.percentile(middle[key], [1, 99])
        inside = [float(((rows[key] >= low) & (rows[key] <= high)).mean()) for rows in found]
        table[key] = {"means": means, "errors": errors, "inside_1_99": inside}
        change = " ".join(f"{100 * (mean / middle[key].mean() - 1):+.0f}%" for mean in means)
        values = "  ".join(f"{mean:.4g}±{error:.2g}" for mean, error in zip(means, errors, strict=True))
        print(f"  {key:12s} {values}   [{change}] inside {np.round(inside, 2)}", flush=True)
    return table


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--concept", choices=("tempo", "brightness"), required=True)
    parser.add_argument("--source", default="all")
    parser.add_argument("--only", action="store_true")
    parser.add_argument("--layers", help="first-last; default: all")
    parser.add_argument("--alphas", default="-2,-1,0,1,2")
    parser.add_argument("--count", type=int, default=32, help="neutral prompts")
    parser.add_argument("--prompts", type=int, default=48, help="prompts a side for the direction")
    parser.add_argument(
        "--random", type=int, default=0, help="random directions of equal norm to compare with"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    began = time.monotonic()
    model, tokenizer = load(arguments.model)
    vectors = directions(model, tokenizer, arguments.concept, arguments.prompts)
    first, last = (int(x) for x in (arguments.layers or f"0-{len(vectors) - 1}").split("-"))
    layers = list(range(first, last + 1))
    alphas = [float(x) for x in arguments.alphas.split(",")]
    prompts = neutral(arguments.count)
    added = plan(vectors, arguments.source, arguments.only, layers)
    tables = {}
    found = run(model, tokenizer, added, alphas, prompts, EVALUATION_SEED)
    tables[arguments.concept] = report(f"{arguments.concept}, layers {sorted(added)}", alphas, found)
    generator = torch.Generator().manual_seed(5)
    for index in range(arguments.random):
        noise = torch.randn(vectors.shape, generator=generator)
        noise = noise / noise.norm(dim=1, keepdim=True) * vectors.norm(dim=1, keepdim=True)
        other = plan(noise, arguments.source, arguments.only, layers)
        ends = [alphas[0], 0.0, alphas[-1]]
        found = run(model, tokenizer, other, ends, prompts, EVALUATION_SEED)
        tables[f"random {index}"] = report(f"random direction {index}", ends, found)
    if arguments.out:
        arguments.out.write_text(json.dumps(tables, indent=2) + "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
