"""Vector files in Python, and steering MusicGen in transformers with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

SITE = "resid_post"
# Steering settings that only the program has (docs/settings.md).
PROGRAM_ONLY = {
    "site", "unit", "mode", "value", "schedule", "ramp_in_s", "probability", "frame_seed", "weights", "heads",
    "gate", "orthogonalize",
}  # fmt: skip


@dataclass(frozen=True)
class Vectors:
    """A vector file: a direction for each of its layers.

    directions: [D] float32 by layer, of the layers' outputs (hook point resid_post).
    effect_sizes: Cohen's d of the two sides along a layer's direction; 0 if it was not measured.
    """

    concept: str
    positive: str
    negative: str
    directions: dict[int, Tensor]
    effect_sizes: dict[int, float]
    num_layers: int
    hidden_size: int

    @property
    def best_layer(self) -> int:
        """The layer of the largest effect size.

        Raises:
            ValueError: no effect size is known.
        """
        if len(self.directions) > 1 and not any(self.effect_sizes.values()):
            raise ValueError("the file has no effect sizes to choose a layer by: give source_layer")
        return max(self.directions, key=lambda layer: (self.effect_sizes[layer], -layer))


def load_vectors(file: str | Path) -> Vectors:
    """The directions of a vector file that `musicsteer extract`, `vector` or `import` made.

    Raises:
        ValueError: it is no such file, or its directions belong elsewhere than to the layers' outputs.
    """
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error
    if json.loads(metadata.get("musicsteer", "{}")).get("format") != "musicsteer-vectors":
        raise ValueError(f"{file}: not a vector file; 'musicsteer import' converts vectors of other tools")
    directions = {}
    for name, tensor in tensors.items():
        _, layer, site = name.split(".")
        if site != SITE:
            raise ValueError(f"{file}: has vectors of {site}; only {SITE} can be added in Python")
        directions[int(layer)] = tensor
    labels, layers = json.loads(metadata["labels"]), json.loads(metadata["layers"])
    return Vectors(
        metadata["concept"],
        labels["positive"],
        labels["negative"],
        dict(sorted(directions.items())),
        {layer: layers[f"decoder.{layer}.{SITE}"].get("effect_size", 0.0) for layer in sorted(directions)},
        int(metadata["num_layers"]),
        int(metadata["hidden_size"]),
    )


def is_list_of_layers(layers: Any) -> bool:
    """Whether all are whole numbers."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        return False
    return all(isinstance(layer, Integral) and not isinstance(layer, bool) for layer in layers)


def routes_of(
    vectors: Vectors, strategy: str, layers: Sequence[int] | None, source_layer: int | None
) -> dict[int, Tensor]:
    """What is added to the output of which layer: [D] by layer.

    Raises:
        ValueError: a setting that makes no sense, or a layer without a direction.
    """
    if layers is not None and not is_list_of_layers(layers):
        raise ValueError(f"layers {layers!r}: expected a list of whole numbers, such as [0, 1, 2]")

    def direction(layer: int) -> Tensor:
        if layer not in vectors.directions:
            raise ValueError(f"there is no direction of layer {layer}; there are of {[*vectors.directions]}")
        return vectors.directions[layer]

    for layer in layers or ():
        if not 0 <= layer < vectors.num_layers:
            raise ValueError(f"layer {layer}: the model has layers 0 to {vectors.num_layers - 1}")
    if strategy == "per-layer":
        if source_layer is not None:
            raise ValueError("source_layer needs strategy one-to-all or single")
        return {layer: direction(layer) for layer in (vectors.directions if layers is None else layers)}
    if strategy == "one-to-all":
        vector = direction(vectors.best_layer if source_layer is None else source_layer)
        return dict.fromkeys(range(vectors.num_layers) if layers is None else layers, vector)
    if strategy == "single":
        if layers is not None and len(layers) != 1:
            raise ValueError(f"strategy single steers one layer, but there are {len(layers)}")
        if source_layer is None:
            source_layer = vectors.best_layer if layers is None else layers[0]
        return {source_layer if layers is None else layers[0]: direction(source_layer)}
    raise ValueError(f"strategy {strategy!r}: expected per-layer, one-to-all or single")


@contextmanager
def steered(
    model: Any,
    vectors: Vectors,
    *,
    alpha: float,
    layers: Sequence[int] | None = None,
    strategy: str = "per-layer",
    source_layer: int | None = None,
    rows: str = "both",
    **others: Any,
) -> Iterator[None]:
    """Within this context, `model.generate` adds alpha times the vectors, as `musicsteer generate` does.

    model: a MusicgenForConditionalGeneration. layers, strategy, source_layer and rows mean what the flags of
    `musicsteer generate` do (docs/reference-steering.md). Contexts can be nested, and their effects add up.

    Raises:
        ValueError: a setting that makes no sense, or that only `musicsteer generate` has.
    """
    for name in others:
        if name in PROGRAM_ONLY:
            raise ValueError(f"{name} is a setting of 'musicsteer generate' only")
        raise ValueError(f"unknown setting {name}: expected alpha, layers, strategy, source_layer or rows")
    if isinstance(alpha, bool) or not isinstance(alpha, (Real, Tensor)) or not isfinite(alpha):
        raise ValueError(f"alpha {alpha!r}: expected a number")
    if rows not in ("both", "conditional"):
        raise ValueError(f"rows {rows!r}: expected both or conditional")
    decoder = getattr(getattr(getattr(model, "decoder", None), "model", None), "decoder", None)
    if decoder is None or not hasattr(model, "text_encoder"):
        raise ValueError(f"{type(model).__name__} is not a MusicgenForConditionalGeneration")
    config = model.config.decoder
    if (config.num_hidden_layers, config.hidden_size) != (vectors.num_layers, vectors.hidden_size):
        raise ValueError(
            f"the vectors are of a model with {vectors.num_layers} layers of {vectors.hidden_size}, and this "
            f"one has {config.num_hidden_layers} of {config.hidden_size}"
        )
    chosen: list[Tensor | None] = [None]  # [B, 1, 1] of 0 and 1 in this call of the decoder; None: all rows

    def choose_rows(_: Any, __: Any, arguments: dict[str, Any]) -> None:
        mask = arguments.get("encoder_attention_mask")
        if rows == "conditional" and mask is not None:
            has_text = mask.any(dim=1)  # the null rows of guidance have none
            chosen[0] = has_text.view(-1, 1, 1) if has_text.any() else None

    def adding(vector: Tensor) -> Any:
        def add(_: Any, __: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output  # [B, T, D]
            push = (alpha * vector).to(hidden)
            moved = hidden + (push if chosen[0] is None else push * chosen[0].to(hidden))
            return (moved, *output[1:]) if isinstance(output, tuple) else moved

        return add

    routes = routes_of(vectors, strategy, layers, source_layer)
    handles = [model.decoder.register_forward_pre_hook(choose_rows, with_kwargs=True)]
    handles += [
        decoder.layers[layer].register_forward_hook(adding(vector)) for layer, vector in routes.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
