"""How far to the left and right a column that leaves a chain of the codec's layers has read.

Whoever cuts the input into pieces gives each piece that many columns more on each side, and cuts what comes
of them off again: then no padding at a cut can be heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Reach:
    """Columns of the input beside an output column's own, which are as many as the chain's stride where that
    makes fewer of them; -1 each if it reads the whole input."""

    left: int
    right: int

    @property
    def bounded(self) -> bool:
        """Whether the input can be cut."""
        return self.left >= 0


UNBOUNDED = Reach(-1, -1)


def before(module: nn.Module, after: Reach) -> Reach:
    """How many columns a layer reads so that `after` columns besides the wanted ones come out."""
    kind = type(module).__name__
    if kind == "Conv":
        right = 0 if module.causal else module.padding // 2
        left = module.padding - right
        return Reach(module.stride * after.left + left, module.stride * after.right + right)
    if kind == "UpConv":  # output column n is made of input (n + trim_left) // stride and the one before
        left = 1 + math.ceil((after.left - module.trim_left) / module.stride)
        right = 1 + (after.right - 1 + module.trim_left) // module.stride
        return Reach(max(0, left), max(0, right))
    if kind == "ResidualBlock":
        return before(module.first, after)
    return after


def reach_of(modules: Iterable[nn.Module], config: Any) -> Reach:
    """The reach of a chain of layers without an LSTM; UNBOUNDED where a norm or a padding that
    wraps around mixes in columns from anywhere."""
    if config.norm_type == "time_group_norm" or config.pad_mode == "circular":
        return UNBOUNDED
    reach = Reach(0, 0)
    for module in reversed(list(modules)):
        reach = before(module, reach)
    return reach
