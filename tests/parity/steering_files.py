"""Vector files and steering files for the engine, and the injections that they come to, computed here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Directions:
    """Vectors at one site of every layer, with the statistics that a vector file has."""

    site: str
    vectors: list[Tensor]  # [D] for each layer
    effect_sizes: list[float]

    def point(self, layer: int) -> str:
        return f"decoder.{layer}.{self.site}"

    def save(self, path: Path) -> None:
        """As `musicsteer extract` writes them."""
        layers = {
            self.point(i): {"norm": float(v.norm()), "mean_residual_norm": 1.0, "effect_size": d}
            for i, (v, d) in enumerate(zip(self.vectors, self.effect_sizes, strict=True))
        }
        numbers: dict[str, Any] = {
            "musicsteer": {"format": "musicsteer-vectors", "format_version": 1, "oldest_reader": 1},
            "labels": {"negative": "slow", "positive": "fast"},
            "counts": {"negative": 2, "positive": 2},
            "layers": layers,
            "num_layers": len(self.vectors),
            "hidden_size": self.vectors[0].numel(),
            "duration_s": 1.0,
            "guidance_scale": 3.0,
            "top_k": 0,
            "top_p": 0.0,
            "temperature": 1.0,
            "seed": 0,
        }
        metadata = {key: json.dumps(value) for key, value in numbers.items()} | {
            "concept": path.stem,
            "method": "mean-diff",
            "model": "parity",
            "weights_sha256": "0" * 64,
            "prompts_sha256": "0" * 64,
            "positions": "generated",
            "rows": "conditional",
        }
        save_file({self.point(i): v for i, v in enumerate(self.vectors)}, path, metadata)


def exponential_weights(effect_sizes: list[float], factor: float) -> list[float]:
    """factor ** (number of layers with a larger effect size)."""
    return [factor ** sum(other > own for other in effect_sizes) for own in effect_sizes]


def orthogonalized(vectors: list[Tensor]) -> list[Tensor]:
    """Each without what lies in the span of those before it: what a least-squares fit leaves, in float64."""
    result = []
    for i, vector in enumerate(vectors):
        target = vector.double()
        if i > 0:
            before = torch.stack([v.double() for v in vectors[:i]], dim=1)  # [D, i]
            target = target - before @ torch.linalg.lstsq(before, target).solution
        result.append(target.float())
    return result
