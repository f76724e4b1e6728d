"""Files of pooled activations, as `extract --save-activations` writes them, with made-up numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[np.float64]
POINT = "decoder.0.resid_post"


@dataclass(frozen=True)
class Activations:
    """Prompts of two sides: rows [n, D] and [m, D], and a number for each."""

    positive: Array
    negative: Array
    positive_values: Array
    negative_values: Array

    @property
    def rows(self) -> Array:
        return np.concatenate([self.positive, self.negative])

    @property
    def labels(self) -> Array:
        return np.repeat([1.0, -1.0], [len(self.positive), len(self.negative)])

    @property
    def values(self) -> Array:
        return np.concatenate([self.positive_values, self.negative_values])

    def without(self, i: int) -> Activations:
        """All but prompt i of both sides."""
        parts = (self.positive, self.negative, self.positive_values, self.negative_values)
        return Activations(*(np.delete(part, i, axis=0) for part in parts))


def correlated(prompts: int, width: int, seed: int) -> Activations:
    """A direction buried in correlated noise, of the size of a residual stream, far from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.geomspace(3, 0.1, width)
    direction, offset = rng.normal(size=width), 20 * rng.normal(size=width)
    strength = rng.uniform(0.2, 1.5, size=prompts)

    def side(sign: float) -> Array:
        noise = rng.normal(size=(prompts, width)) @ mixing.T
        rows = offset + noise + sign * np.outer(strength, direction)
        return rows.astype(np.float32).astype(np.float64)

    noise = rng.normal(size=(2, prompts))
    return Activations(
        side(1), side(-1), 100 + 40 * strength + 5 * noise[0], 100 - 40 * strength + 5 * noise[1]
    )


def save(path: Path, made: Activations, paired: bool = True, numbered: bool = True) -> None:
    """As the program would have saved them."""
    width = made.positive.shape[1]
    stamp = {"format": "musicsteer-activations", "format_version": 1, "oldest_reader": 1}
    metadata = {
        "musicsteer": json.dumps(stamp),
        "concept": "made up",
        "labels": json.dumps({"positive": "more", "negative": "less"}),
        "method": "mean-diff",
        "model": "none",
        "weights_sha256": "0" * 64,
        "prompts_sha256": "0" * 64,
        "positions": "generated",
        "rows": "conditional",
        "duration_s": "1.0",
        "guidance_scale": "3.0",
        "top_k": "250",
        "top_p": "0.0",
        "temperature": "1.0",
        "seed": "0",
        "counts": json.dumps({"positive": len(made.positive), "negative": len(made.negative)}),
        "num_layers": "1",
        "hidden_size": str(width),
    }  # fmt: skip
    if paired:
        metadata["paired"] = "true"
    if numbered:
        metadata["value"] = "prompt"
        metadata["values"] = json.dumps(
            {"positive": made.positive_values.tolist(), "negative": made.negative_values.tolist()}
        )
    tensors = {}
    for side, rows in (("positive", made.positive), ("negative", made.negative)):
        tensors[f"{side}.{POINT}"] = rows.astype(np.float32)
        tensors[f"{side}.{POINT}.mean_norms"] = np.linalg.norm(rows, axis=1).astype(np.float32)
    save_file(tensors, path, metadata)
