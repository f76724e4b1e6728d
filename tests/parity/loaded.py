"""Random checkpoints in memory: transformers' model beside our modules on the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from checkpoints import SHAPES, Shape, build
from export_model import build_modules, describe
from torchscript.checkpoint import Checkpoint
from torchscript.parity import Modules

NAMES = [shape.name for shape in SHAPES]

# Shapes of tensors change from step to step: profiling and optimising for each costs more than running.
torch._C._set_graph_executor_optimize(False)


@dataclass
class Loaded:
    """transformers' model of one shape, and the manifest that its bundle would have."""

    shape: Shape
    model: Any
    manifest: dict[str, Any]

    def modules(self) -> Modules:
        """Our modules on the model's weights, scripted anew."""
        return Modules(*map(torch.jit.script, build_modules(self.model).values()), self.manifest)


@cache
def load_shape(name: str) -> Loaded:
    """The random checkpoint called `name`, built once."""
    shape = next(shape for shape in SHAPES if shape.name == name)
    model = build(shape)
    checkpoint = Checkpoint(name, model, b"", "", "", dict(shape.generation))
    return Loaded(shape, model, describe(checkpoint, None, "f32"))


@cache
def modules_of(name: str) -> Modules:
    """Its honest modules, scripted once."""
    return load_shape(name).modules()
