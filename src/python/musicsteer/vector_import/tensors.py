"""A tensor in a file of others: what is known of it before its values are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Far beyond any model, and little memory: as in src/base/size_limits.hpp, and 64 MiB of float32 in all.
MAX_LAYERS = 1024
MAX_WIDTH = 1 << 20
MAX_VALUES = 1 << 24
LONGEST_NAME = 60

WHOLE = slice(None)
HOOK_NAME = re.compile(r"blocks\.(\d+)\.hook_(resid_pre|resid_post)")  # of TransformerLens


class ImportFailure(Exception):
    """The file cannot be imported; the message is a sentence: where, what was expected, what came."""


def quoted(name: object) -> str:
    """A name from a file, fit for a line of a message."""
    text = name if isinstance(name, str) else str(name)
    return ascii(text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "...")


@dataclass(frozen=True)
class ForeignTensor:
    """One tensor; `read(index)` copies the values at that index, as float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_floating: bool
    read: Callable[[Any], np.ndarray]

    @property
    def num_values(self) -> int:
        """The product of the shape."""
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True)
class SaeConfig:
    """What a sparse autoencoder's cfg.json says, as far as it does."""

    width: int | None = None  # D
    layer: int | None = None
    site: str | None = None  # of the layer


@dataclass(frozen=True)
class ForeignFile:
    """The tensors of a file, and what it says of them, if it says anything."""

    tensors: list[ForeignTensor]
    metadata: dict[str, str] = field(default_factory=dict)  # of musicsteer, from what it once exported
    sae: SaeConfig = SaeConfig()  # of a sparse autoencoder
