"""Which tensor of a file belongs to which layer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tensors import (
    MAX_LAYERS,
    MAX_VALUES,
    MAX_WIDTH,
    WHOLE,
    ForeignFile,
    ForeignTensor,
    ImportFailure,
    quoted,
)

SITES = (
    "resid_pre",
    "self_attn_heads",
    "self_attn_out",
    "resid_post_self",
    "cross_attn_out",
    "resid_post_cross",
    "mlp_out",
    "resid_post",
)
OTHER_POINTS = ("decoder.embed", "decoder.final_norm")

# "5", "layer_5", "model.layers.5", "blocks.5", "direction.5"
LAYER_NAME = re.compile(
    r"(?:(?:model|decoder|transformer)\.)*(?:(?:layers?|blocks?|h|directions?)[._-]?)?(\d+)"
)
POINT_NAME = re.compile(r"decoder\.(\d+)\.(" + "|".join(SITES) + ")")
HOOK_NAME = re.compile(r"blocks\.(\d+)\.hook_(resid_pre|resid_post)")  # of TransformerLens

# Decoders of sparse autoencoders, and which of their axes counts features where nothing else tells.
DECODERS = {"W_dec": 0, "decoder.weight": 1, "decoder": 0}
DECODER_BIASES = ("b_dec", "decoder.bias")


@dataclass(frozen=True)
class Choice:
    """What the command line says of tensors whose names do not tell."""

    site: str
    layer: int | None = None
    feature: int | None = None


def place_of(tensor: ForeignTensor, path: object) -> str:
    """Where a message speaks of."""
    return f"{path}: {quoted(tensor.name)}" if tensor.name else str(path)


def checked(tensor: ForeignTensor, path: object) -> ForeignTensor:
    """The tensor, if it holds floating-point numbers.

    Raises:
        ImportFailure: it holds others.
    """
    if not tensor.is_floating:
        raise ImportFailure(
            f"{place_of(tensor, path)}: expected floating-point numbers, found {tensor.dtype}; vectors of "
            "integers need their scale: convert them to float32 first"
        )
    return tensor


def values(tensor: ForeignTensor, index: Any, path: object) -> np.ndarray:
    """The vector `[D]` at that index, finite.

    Raises:
        ImportFailure: NaN or infinite values, or not one vector.
    """
    with np.errstate(over="ignore"):
        vector = tensor.read(index).reshape(-1)
    where = place_of(tensor, path)
    if not 1 <= vector.size <= MAX_WIDTH:
        raise ImportFailure(f"{where}: expected 1 to {MAX_WIDTH} numbers, found {vector.size}")
    if not np.isfinite(vector).all():
        raise ImportFailure(f"{where}: holds values that are not finite in float32")
    return vector


def point_of(name: str, site: str) -> str | None:
    """The hook point that a tensor's name tells, if any."""
    if name in OTHER_POINTS:
        return name
    if found := POINT_NAME.fullmatch(name) or HOOK_NAME.fullmatch(name):
        return layer_point(int(found[1][:9]), found[2])
    if re.fullmatch(r"-\d+", name):
        raise ImportFailure("layers count from 0; add the model's number of layers to negative ones")
    if found := LAYER_NAME.fullmatch(name):
        return layer_point(int(found[1][:9]), site)
    return None


def named_point(tensor: ForeignTensor, site: str, path: object) -> str | None:
    """The hook point that a tensor's name tells, if any; errors say where."""
    try:
        return point_of(tensor.name, site)
    except ImportFailure as error:
        raise ImportFailure(f"{place_of(tensor, path)}: {error}") from None


def layer_point(layer: int, site: str) -> str:
    """A hook point by name.

    Raises:
        ImportFailure: no model has that layer.
    """
    if not 0 <= layer < MAX_LAYERS:
        raise ImportFailure(f"layer {layer}: expected 0 to {MAX_LAYERS - 1}")
    return f"decoder.{layer}.{site}"


def layer_of(point: str) -> int | None:
    """The layer of a hook point of a layer."""
    found = POINT_NAME.fullmatch(point)
    return int(found[1]) if found else None


def place(file: ForeignFile, choice: Choice, path: object) -> dict[str, np.ndarray]:
    """Hook point -> `[D]` float32.

    Raises:
        ImportFailure: names, shapes or values that are not vectors of layers.
    """
    if not file.tensors:
        raise ImportFailure(f"{path}: holds no tensors")
    if choice.feature is not None:
        return {layer_point(choice.layer or 0, choice.site): feature(file, choice.feature, path)}
    if any(tensor.name in DECODERS for tensor in file.tensors):
        raise ImportFailure(f"{path}: a sparse autoencoder; choose a direction with --feature N --layer L")
    total = sum(tensor.num_values for tensor in file.tensors)
    if total > MAX_VALUES:
        raise ImportFailure(f"{path}: {total} numbers, more than any model's vectors have ({MAX_VALUES})")
    if len(file.tensors) == 1:
        return place_one(checked(file.tensors[0], path), choice, path)
    if choice.layer is not None:
        raise ImportFailure(
            f"{path}: --layer is for a file of one vector; it has {len(file.tensors)} tensors"
        )
    return place_by_name(file.tensors, choice.site, path)


def place_one(tensor: ForeignTensor, choice: Choice, path: object) -> dict[str, np.ndarray]:
    """One tensor: a vector of a named or a given layer, or a row for each layer."""
    shape = list(tensor.shape)
    point = named_point(tensor, choice.site, path)
    is_vector = len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    if choice.layer is not None:
        if not is_vector:
            raise ImportFailure(
                f"{place_of(tensor, path)}: --layer is for one vector [D] or [1, D], found {shape}"
            )
        return {layer_point(choice.layer, choice.site): values(tensor, WHOLE, path)}
    if is_vector and point is None:
        raise ImportFailure(f"{path}: one vector {shape}, of which layer? give --layer N")
    if is_vector or point is not None:
        return place_by_name([tensor], choice.site, path)
    if len(shape) != 2:
        raise ImportFailure(f"{place_of(tensor, path)}: expected [L, D], a row for each layer, found {shape}")
    if shape[0] > MAX_LAYERS:
        raise ImportFailure(
            f"{place_of(tensor, path)}: {shape} would be {shape[0]} layers, more than any model has"
        )
    return {layer_point(i, choice.site): values(tensor, i, path) for i in range(shape[0])}


def place_by_name(tensors: list[ForeignTensor], site: str, path: object) -> dict[str, np.ndarray]:
    """Tensors that are named by their layers or hook points."""
    vectors: dict[str, np.ndarray] = {}
    for tensor in tensors:
        where, point = place_of(tensor, path), named_point(tensor, site, path)
        if point is None:
            raise ImportFailure(
                f"{where}: expected a layer (5, layer_5, model.layers.5) or a hook point "
                "(decoder.5.resid_post) as the name"
            )
        shape = list(checked(tensor, path).shape)
        if len(shape) != 1 and not (len(shape) == 2 and shape[0] == 1):
            raise ImportFailure(f"{where}: expected one vector [D] or [1, D], found {shape}")
        if point in vectors:
            raise ImportFailure(f"{where}: a second vector for {point}")
        vectors[point] = values(tensor, WHOLE, path)
        first = next(iter(vectors.values()))
        if vectors[point].size != first.size:
            raise ImportFailure(
                f"{where}: expected {first.size} numbers, as in the file's first vector, found "
                f"{vectors[point].size}"
            )
    return vectors


def feature(file: ForeignFile, number: int, path: object) -> np.ndarray:
    """The decoder's direction `[D]` of one feature of a sparse autoencoder."""
    by_name = {tensor.name: tensor for tensor in file.tensors}
    name = next((name for name in DECODERS if name in by_name), None)
    if name is None:
        raise ImportFailure(f"{path}: no sparse autoencoder: has no tensor {' or '.join(DECODERS)}")
    decoder = checked(by_name[name], path)
    where = f"{path}: {quoted(name)}"
    if len(decoder.shape) != 2:
        raise ImportFailure(f"{where}: expected a matrix [F, D], found {list(decoder.shape)}")
    biases = [by_name[bias].shape for bias in DECODER_BIASES if bias in by_name]
    width = file.sae_width or (biases[0][0] if biases and len(biases[0]) == 1 else None)
    axis = DECODERS[name]
    if width is not None and decoder.shape[1 - axis] != width:
        axis = 1 - axis
        if decoder.shape[1 - axis] != width:
            raise ImportFailure(
                f"{where}: expected an axis of {width}, the width, found {list(decoder.shape)}"
            )
    if number >= decoder.shape[axis]:
        raise ImportFailure(f"{where}: has features 0 to {decoder.shape[axis] - 1}, not {number}")
    return values(decoder, number if axis == 0 else (WHOLE, number), path)
